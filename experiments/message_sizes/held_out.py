"""Errors of predicted bytes on runs that were held out of the fit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow.compute as pc
from fitting import fit
from spans import (
    HEADLESS,
    PLAIN,
    Row,
    is_fitted,
    layout_of,
    method_of,
    name_of,
    runs_of,
    selected_of,
)

from floss_sim import RunConfig, load_profile, load_task, size_only
from floss_sim.methods import Method
from floss_sim.methods.predicted_sizes import SizePredictor, changes_by_round
from floss_sim.methods.size_statistics import SizeStatistics, density_band, statistics_of
from floss_sim.wire import VALUE_CODES, predict_nbytes

LEVEL = 0.9  # share of held-out runs within the stated error
FOLDS = 5
UNLIKE = "floss, no head, no such task fitted"
KEYS = ("method", "direction", "values", "density")


def held_out_errors(rows: Sequence[Row]) -> list[Row]:
    """Return the error of every held-out run, in every value code that it was measured in."""
    fitted = [row for row in rows if is_fitted(row)]
    errors: list[Row] = []
    for is_out in folds(fitted):
        rest = [row for row in fitted if not is_out(row)]
        statistics = with_errors(fit(rest))
        errors += errors_of([row for row in fitted if is_out(row)], statistics)
    errors += [{**row, "method": UNLIKE} for row in errors_of(*_unlike(fitted))]
    whole = with_errors(fit(fitted))
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

    order = sorted({configuration(row) for row in rows})
    shuffled = np.random.default_rng(0).permutation(len(order))
    fold = {order[place]: i % FOLDS for i, place in enumerate(shuffled)}
    parts: list[Callable[[Row], bool]] = [
        lambda row, number=number: fold[configuration(row)] == number for number in range(FOLDS)
    ]
    return [*parts, lambda row: row["task"] == "20news"]


def errors_of(rows: Sequence[Row], statistics: SizeStatistics) -> list[Row]:
    """Return the errors of the total bytes of runs, by direction and value code."""
    found = []
    for label, spans in runs_of(rows).items():
        for way in ("down", "up"):
            run = [row for row in spans if row["way"] == way]
            codes = list(VALUE_CODES) if run[0]["sign"] is not None else [run[0]["values"]]
            found += [_error(label, way, values, run, statistics) for values in codes]
    return found


def _error(
    label: str, way: str, values: str, run: Sequence[Row], statistics: SizeStatistics
) -> Row:
    row, rounds = run[0], int(run[-1]["last"])
    lengths = np.array([span["last"] - span["first"] + 1 for span in run])
    code = values if row["sign"] is not None else None
    total = float(lengths @ [_real_bytes(span, code) for span in run]) / rounds
    before, after = predictions(row, way, values, rounds, statistics)
    return {
        "run": label, "task": row["task"], "method": name_of(row),
        "direction": way, "values": values, "density": density_band(way, row["down"], row["up"]),
        "rounds": rounds, "mean_bytes": round(total, 1),
        "before": round(before / total - 1, 4), "after": round(after / total - 1, 4),
    }  # fmt: skip


def _real_bytes(span: Row, values: str | None) -> float:
    """Return the mean bytes of a message, by default as recorded, or in another value code."""
    nbytes: float = span["nbytes"]
    return nbytes if values is None else nbytes - span["fp32"] + span[values]


def predictions(
    row: Row, way: str, values: str, rounds: int, statistics: SizeStatistics
) -> tuple[float, float]:
    """Return the mean predicted bytes of a run's messages: simple, and by statistics."""
    recorded = method_of(row)
    method = replace(recorded, down_values=values, up_values=values)
    if not changes_by_round(method):
        simple = simple_mean(row, method, way, rounds)
        return simple, simple
    predictor = SizePredictor(method, layout_of(row), row["cohort"], statistics)
    nbytes_R, _ = predictor.messages("down" if way == "down" else "up", 0, 1, rounds)
    return predict_nbytes(row["entries"], selected_of(row), values), float(nbytes_R.mean())


def simple_mean(row: Row, method: Method, way: str, rounds: int) -> float:
    """Return the mean predicted bytes of a run of digits whose method has no recorded ratios."""
    config = RunConfig.of(load_task("digits"), method, rank=row["rank"])
    transfers = size_only(config, load_profile("paper-200-20"), rounds).transfers
    return float(pc.mean(transfers.filter(pc.equal(transfers["direction"], way))["nbytes"]).as_py())


def error_table(errors: Sequence[Row]) -> list[Row]:
    """Return the error of each kind: nine of ten held-out runs were predicted within it."""
    kinds = defaultdict(list)
    for row in errors:
        kinds[tuple(row[name] for name in KEYS)].append(row)
    return [
        dict(zip(KEYS, kind, strict=True)) | {"runs": len(rows)} | _quantiles(rows)
        for kind, rows in sorted(kinds.items())
    ]


def _quantiles(rows: Sequence[Row]) -> Row:
    def quantile(name: str) -> float:
        sizes = [abs(row[name]) for row in rows]
        return round(float(np.quantile(sizes, LEVEL, method="higher")), 3)

    return {"before": quantile("before"), "error": max(0.005, quantile("after"))}
