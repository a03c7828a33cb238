"""Statistics of recorded messages: constants of the touched share, and ratios of real sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from spans import (
    BY_PART,
    HEADLESS,
    PLAIN,
    Floats,
    Row,
    config_of,
    groups_of,
    middles,
    name_of,
    runs_of,
    selected_of,
)

from floss_sim.methods.predicted_sizes import simple_sections
from floss_sim.methods.size_statistics import KINDS, RatioSurface, features
from floss_sim.methods.touched_by_uploads import touched_share
from floss_sim.methods.touched_entries import TouchConstants, anchor_rounds, touched_shares
from floss_sim.wire import VALUE_CODES

RIDGE = 0.003  # penalty on scaled coefficients, times the number of rows
LEAST_INDEX_BYTES = 40  # of an index section, for its ratio to be fitted
PULL = 0.01  # weight of the distance to LoRA's constants, for kinds with few runs
START = (-0.3, -2.0, 5.0, 1.2, 2.4, -4.6, -5.6)  # of the constants of the touched share


def fit(rows: Sequence[Row], kept: Row | None = None) -> Row:
    """Return the document of statistics, without errors, of the spans of some runs.

    Args:
        rows: Spans of the runs.
        kept: Document whose statistics of LoRA are taken over; None: they are fitted, too.
    """
    if kept:
        touched = {PLAIN: kept["touched"][PLAIN]}
        surfaces = kept["surfaces"]
    else:
        plain = [row for row in rows if name_of(row) == PLAIN]
        lora = [row for row in rows if name_of(row) in (PLAIN, HEADLESS)]
        touched = {PLAIN: fit_touched(plain)}
        surfaces = {kind: fit_surface(lora, kind) for kind in KINDS}
    for name in sorted({name_of(row) for row in rows} - {PLAIN}):
        others = [row for row in rows if name_of(row) == name]
        touched[name] = fit_other_touched(touched[PLAIN], others)
    return {"touched": touched, "surfaces": surfaces}


def fit_touched(rows: Sequence[Row]) -> Row:
    """Return the constants of the touched share, by least squares on the entries of downloads."""
    return _fitted_once(rows, _fit_touched)


def _fitted_once(rows: Sequence[Row], made: Callable[[list[list[Row]]], Row]) -> Row:
    """Return the constants of some runs, which several folds have in common."""
    runs = runs_of(_of_zeros(rows))
    if (labels := frozenset(runs)) not in _FITTED:
        _FITTED[labels] = made(list(runs.values()))
    return _FITTED[labels]


_FITTED: dict[frozenset[str], Row] = {}


def _fit_touched(runs: Sequence[Sequence[Row]]) -> Row:
    def residuals(vector: Floats) -> Floats:
        return np.concatenate([_touched_errors(_constants(vector), run) for run in runs])

    return _values(_constants(least_squares(residuals, START, max_nfev=60).x))


def _values(constants: TouchConstants) -> Row:
    """Return constants as plain values of six digits."""
    return {
        "correlation": float(f"{constants.correlation:.6g}"),
        "adapter": [float(f"{value:.6g}") for value in constants.adapter],
        "head": [float(f"{value:.6g}") for value in constants.head],
    }


def fit_other_touched(plain: Row, rows: Sequence[Row]) -> Row:
    """Return the constants of a kind with few runs, drawn towards those of LoRA with a head."""
    return _fitted_once(rows, lambda runs: _fit_other(plain, runs))


def _fit_other(plain: Row, runs: Sequence[Sequence[Row]]) -> Row:
    rho = plain["correlation"]
    known = np.array([math.log(rho / (1 - rho)), *plain["adapter"], *plain["head"]])

    def residuals(vector: Floats) -> Floats:
        errors = [_touched_errors(_constants(vector), run) for run in runs]
        return np.concatenate([PULL * (vector - known), *errors])

    return _values(_constants(least_squares(residuals, known, max_nfev=30).x))


def _of_zeros(rows: Sequence[Row]) -> list[Row]:
    """Return downloads of everything after sparse uploads: their entries show the touched share."""
    return [r for r in rows if r["way"] == "down" and r["down"] == 1 and r["up"] < 1]


def _constants(vector: Floats) -> TouchConstants:
    rho, *rest = (float(value) for value in vector)
    return TouchConstants(_logistic(rho), (rest[0], rest[1], rest[2]), (rest[3], rest[4], rest[5]))


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def _touched_errors(constants: TouchConstants, run: Sequence[Row]) -> Floats:
    if name_of(run[0]) in BY_PART:
        return _touched_errors_by_part(constants, run)
    adapter, head, zeros = groups = groups_of(run[0])
    uploads = max(1, int(run[0]["up"] * run[0]["entries"]))
    rounds_J = anchor_rounds()
    rounds_J = rounds_J[: np.searchsorted(rounds_J, run[-1]["last"]) + 2]
    shares_J = touched_shares(groups, [(run[0]["cohort"], uploads)], constants, rounds_J)
    real = np.array([(row["count"] - adapter - head) / zeros for row in run])
    return np.interp(np.log(middles(run)), np.log(rounds_J), shares_J) - real


def _touched_errors_by_part(constants: TouchConstants, run: Sequence[Row]) -> Floats:
    adapter, head, zeros = groups_of(run[0])
    config = config_of(run[0])
    shares_R = [
        touched_share(config.method, config.layout, run[0]["cohort"], version, constants)
        for version in range(run[-1]["last"])
    ]
    means = [np.mean(shares_R[row["first"] - 1 : row["last"]]) for row in run]
    return np.array(means) - [(row["count"] - adapter - head) / zeros for row in run]


def features_of(rows: Sequence[Row]) -> Floats:
    """Return the features of recorded messages, shape (F, rows)."""
    parts = [
        features(
            np.array([(row["first"] + row["last"]) / 2]), groups_of(row), selected_of(row),
            row["up" if row["way"] == "down" else "down"],
        )
        for row in rows
    ]  # fmt: skip
    return np.concatenate(parts, axis=1)


def fit_surface(rows: Sequence[Row], kind: str) -> Row:
    """Return the ratios of a kind of message, by ridge regression on their logarithms."""
    way, which = kind.split("-")
    found = [
        row
        for row in rows
        if row["way"] == way and (selected_of(row) == row["entries"]) == (which == "all")
    ]
    features_FR = features_of(found)
    low, high = features_FR.min(axis=1), features_FR.max(axis=1)
    surface = RatioSurface(tuple(low), tuple(high), {})
    terms_RT = surface.terms(features_FR).T
    coefficients = {}
    for section in ("index", *VALUE_CODES):
        ratios_R, chosen_R = _ratios(found, section)
        if not chosen_R.any():
            continue
        terms, logs = terms_RT[chosen_R], np.log(ratios_R[chosen_R])
        penalty = np.diag([0.0] + [RIDGE * len(terms)] * (terms.shape[1] - 1))
        solved = np.linalg.solve(terms.T @ terms + penalty, terms.T @ logs)
        coefficients[section] = [float(f"{value:.5g}") for value in solved]
    return {"low": list(low), "high": list(high), "coefficients": coefficients}


def _ratios(rows: Sequence[Row], section: str) -> tuple[Floats, NDArray[np.bool_]]:
    """Return real over simple bytes of a section, and which rows tell something about it."""
    ratios, chosen = np.ones(len(rows)), np.zeros(len(rows), dtype=bool)
    for i, row in enumerate(rows):
        code = "fp32" if section == "index" else section
        counts = np.array([row["count"]])
        index, values = simple_sections(groups_of(row), selected_of(row), code, counts)
        simple = float((index if section == "index" else values)[0])
        if section != "index" or (simple > LEAST_INDEX_BYTES and row["index"] > 0):
            ratios[i], chosen[i] = row[section] / simple, True
    return ratios, chosen
