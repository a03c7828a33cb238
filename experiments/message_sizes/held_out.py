"""Errors of predicted bytes on runs that were held out of the fit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from fitting import fit
from spans import (
    BY_PART,
    HEADLESS,
    PLAIN,
    Floats,
    Row,
    config_of,
    is_fitted,
    layout_of,
    method_of,
    name_of,
    runs_of,
    selected_of,
)

from floss_sim.analysis.traffic import Traffic
from floss_sim.methods.predicted_sizes import SQUARE, SizePredictor, changes_by_round
from floss_sim.methods.size_statistics import (
    ROUND_BANDS,
    SizeStatistics,
    density_band,
    round_band,
    statistics_of,
)
from floss_sim.wire import VALUE_CODES, predict_nbytes

LEVEL = 0.9  # share of held-out runs within the stated error
LEAST = 0.005  # smallest error that is stated
SHORT = tuple(f"to_{most}" for most in ROUND_BANDS)  # columns of the errors of short runs
BAND_COLUMNS = (*SHORT, "error")  # in the order of the bands of rounds
FOLDS = 5
UNLIKE = "floss, no head, no such task fitted"
KEYS = ("method", "direction", "values", "density")


def held_out_errors(rows: Sequence[Row], kept: Row | None = None) -> list[Row]:
    """Return the error of every held-out run, in every value code that it was measured in.

    Args:
        rows: Recorded spans of rounds.
        kept: Document whose statistics of LoRA stay, with runs of other methods in ``rows``; None:
            they are fitted and held out, too.
    """
    fitted = [row for row in rows if is_fitted(row)]
    errors: list[Row] = []
    for is_out in folds(fitted):
        if out := [row for row in fitted if is_out(row)]:
            rest = [row for row in fitted if not is_out(row)]
            errors += errors_of(out, with_errors(fit(rest, kept)))
    if kept is None:
        errors += [{**row, "method": UNLIKE} for row in errors_of(*_unlike(fitted))]
    whole = with_errors(fit(fitted, kept))
    return errors + errors_of([row for row in rows if not is_fitted(row)], whole)


def _unlike(rows: Sequence[Row]) -> tuple[list[Row], SizeStatistics]:
    """Return the runs without a head, and statistics of the others alone: a task unlike any."""
    rest = [row for row in rows if name_of(row) != HEADLESS]
    document = fit(rest)
    document["touched"][HEADLESS] = document["touched"][PLAIN]
    return [row for row in rows if name_of(row) == HEADLESS], with_errors(document)


def with_errors(document: Row) -> SizeStatistics:
    """Return the statistics of a document that has no errors yet."""
    return statistics_of(document | {"errors": []})


def folds(rows: Sequence[Row]) -> list[Callable[[Row], bool]]:
    """Return the held-out parts: fifths of the configurations of all tasks, and the tasks apart.

    A task is held out if another one of its kind is left: with a head, ``digits`` and ``20news``.
    """

    def configuration(row: Row) -> tuple[Any, ...]:
        return row["task"], name_of(row), row["rank"], row["down"], row["up"]

    fold = {}
    # Those recorded later leave the parts of the others as they were.
    later = (SQUARE, *BY_PART)
    for names in (None, *later):
        found = {
            configuration(row)
            for row in rows
            if (name_of(row) == names if names else name_of(row) not in later)
        }
        order = sorted(found)
        shuffled = np.random.default_rng(0).permutation(len(order))
        fold |= {order[place]: i % FOLDS for i, place in enumerate(shuffled)}
    parts: list[Callable[[Row], bool]] = [
        lambda row, number=number: fold[configuration(row)] == number for number in range(FOLDS)
    ]
    return [*parts, lambda row: row["task"] == "20news"]


def errors_of(rows: Sequence[Row], statistics: SizeStatistics) -> list[Row]:
    """Return the errors of the total bytes of runs, by direction, value code and rounds.

    The first rounds of a run, up to the end of each recorded span, are a run as well.
    """
    found = []
    for label, spans in runs_of(rows).items():
        for way in ("down", "up"):
            run = [row for row in spans if row["way"] == way]
            codes = list(VALUE_CODES) if run[0]["sign"] is not None else [run[0]["values"]]
            found += [
                error for values in codes for error in _errors(label, way, values, run, statistics)
            ]
    return found


def _errors(
    label: str, way: str, values: str, run: Sequence[Row], statistics: SizeStatistics
) -> Iterator[Row]:
    """Yield the errors of the first rounds of a run, up to the end of each span."""
    row, ends_S = run[0], np.array([int(span["last"]) for span in run])
    lengths_S = np.diff(ends_S, prepend=0)
    code = values if row["sign"] is not None else None
    real_S = np.cumsum(lengths_S * [_real_bytes(span, code) for span in run]) / ends_S
    before_R, after_R = predictions(row, way, values, int(ends_S[-1]), statistics)
    band = density_band(way, row["down"], row["up"])
    if not changes_by_round(method_of(row)):
        band = config_of(row).sizes.band("down" if way == "down" else "up", 0)
    told = {
        "run": label, "task": row["task"], "method": name_of(row),
        "direction": way, "values": values, "density": band,
    }  # fmt: skip
    for end, real in zip(ends_S, real_S, strict=True):
        errors = [round(float(p_R[:end].mean()) / real - 1, 4) for p_R in (before_R, after_R)]
        yield {
            **told, "rounds": int(end), "of": int(ends_S[-1]), "mean_bytes": round(float(real), 1),
            **dict(zip(("before", "after"), errors, strict=True)),
        }  # fmt: skip


def _real_bytes(span: Row, values: str | None) -> float:
    """Return the mean bytes of a message, by default as recorded, or in another value code."""
    nbytes: float = span["nbytes"]
    return nbytes if values is None else nbytes - span["fp32"] + span[values]


def predictions(
    row: Row, way: str, values: str, rounds: int, statistics: SizeStatistics
) -> tuple[Floats, Floats]:
    """Return the predicted bytes of a run's messages by round: simple, and by statistics."""
    recorded = method_of(row)
    method = replace(recorded, down_values=values, up_values=values)
    if not changes_by_round(method):
        made = (NothingZero, SizePredictor)
        before_R, after_R = (
            mean_bytes(of(method, config_of(row).layout, row["cohort"], statistics), way, row)
            for of in made
        )
        return before_R, after_R
    predictor = SizePredictor(method, layout_of(row), row["cohort"], statistics)
    nbytes_R, _ = predictor.messages("down" if way == "down" else "up", 0, 1, rounds)
    simple = predict_nbytes(row["entries"], selected_of(row), values)
    return np.full(rounds, float(simple)), nbytes_R.astype(float)


class NothingZero(SizePredictor):
    """Predicted sizes as if no entry were zero."""

    def touched_share(self, version: int) -> float:
        """Return 1."""
        return 1.0


def mean_bytes(sizes: SizePredictor, way: str, row: Row) -> Floats:
    """Return the mean bytes by round of a run of ``digits``, over its own cohorts."""
    traffic = _traffic(sizes, row["seed"], row["rounds"], config_of(row).fleet.clients)
    nbytes_RC = traffic.down if way == "down" else traffic.up
    means_R: Floats = nbytes_RC.mean(axis=1)
    return means_R


@lru_cache(maxsize=64)
def _traffic(sizes: SizePredictor, seed: int, rounds: int, clients: int) -> Traffic:
    return Traffic.of_sizes(sizes, seed, rounds, clients, lambda client: 1)


def whole_runs(errors: Sequence[Row]) -> list[Row]:
    """Return the errors of whole runs."""
    found = [row for row in errors if row["rounds"] == row["of"]]
    return [{name: value for name, value in row.items() if name != "of"} for row in found]


def error_table(errors: Sequence[Row]) -> list[Row]:
    """Return the errors of each kind: nine of ten held-out runs were predicted within them.

    ``before`` and ``error`` are those of whole runs, the others those of runs of some rounds.
    """
    kinds = defaultdict(list)
    for row in errors:
        kinds[tuple(row[name] for name in KEYS)].append(row)
    return [
        dict(zip(KEYS, kind, strict=True)) | _quantiles(rows)
        for kind, rows in sorted(kinds.items())
    ]


def _quantiles(rows: Sequence[Row]) -> Row:
    whole = whole_runs(rows)
    error = _quantile(whole, "after")
    bands = [[row for row in rows if round_band(row["rounds"]) == b] for b in range(len(SHORT))]
    return {
        "runs": len(whole),
        "before": _quantile(whole, "before"),
        "error": error,
        **{name: max(error, _quantile(b, "after")) for name, b in zip(SHORT, bands, strict=True)},
    }


def _quantile(rows: Sequence[Row], name: str) -> float:
    """Return the size that nine of ten errors are within; 0 if there are no errors."""
    sizes = [abs(row[name]) for row in rows]
    if not sizes:
        return 0.0
    least = LEAST if name == "after" else 0.0
    return max(least, round(float(np.quantile(sizes, LEVEL, method="higher")), 3))
