"""Which run of each method is trained to its end, and what a small search over methods finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from floss_sim import RunConfig
from planner import Request, plan, read_plan
from planner.candidates import Candidate, grid
from planner.decisions.further_seeds import rounds_for_seeds
from planner.decisions.method_leaders import method_leaders
from planner.forecasts.intervals import Interval
from planner.question.method_space import method_space


def told(mean: float) -> Interval:
    return Interval(mean - 0.1, mean, mean + 0.05, "forecast")


ONE, TWO = Candidate(1, 1.0, 1.0), Candidate(2, 1.0, 1.0)
SQUARE, HEADS = (Candidate(2, 1.0, 1.0, method=name) for name in ("fed-sb", "ravan"))
KNOWN = {ONE: told(0.8), TWO: told(0.9), SQUARE: told(0.7), HEADS: told(0.6)}


@pytest.mark.parametrize(
    ("missing", "left", "expected"),
    [
        ((0, 0, 30, 20), 50, [HEADS, SQUARE]),  # the cheaper one first
        ((0, 0, 30, 20), 49, [HEADS]),
        ((0, 0, 0, 0), 100, []),  # each method's best run is finished
        ((0, 10, 0, 0), 100, [TWO]),  # a finished run is worse
        ((0, 10, 0, 0), 9, []),  # nothing better is left
        ((5, 10, 0, 0), 9, [ONE]),
    ],
)
def test_leaders_are_the_most_promising_runs_that_fit(missing, left: int, expected: list):
    assert method_leaders(KNOWN, dict(zip(KNOWN, missing, strict=True)), left) == expected


def test_each_other_method_has_an_average_run_reserved():
    one, three = (rounds_for_seeds(100_000, [300, 500] * 4, [50], others) for others in (0, 2))
    assert three == one + 2 * 400


def test_a_search_over_methods_finishes_one_run_of_each(digits: RunConfig, tmp_path: Path):
    space = method_space(digits.task, grid([2], [1.0], [1.0]), ["floss", "fed-sb", "dense"])
    request = Request.of(
        "digits", "paper-200-20", budget="4-dense-rounds", candidates=space.candidates,
        reference_rank=2, max_rounds=2, effort=1, lr_test=False, left_out_methods=space.left_out,
    )  # fmt: skip
    made = plan(request, store=tmp_path / "store", workers=1)
    made.save(tmp_path / "plan")
    assert read_plan(tmp_path / "plan").methods == made.methods
    by = {one.method: one for one in made.methods}
    assert set(by) == {"floss", "fed-sb", "dense"}
    assert all(by[name].run and by[name].run.counts for name in ("floss", "fed-sb"))
    assert by["dense"].lacks == "refused"
    best = made.methods[0].run
    assert best
    assert best.interval.mean == made.best_accuracy
    assert len(made.method_gaps) == 1
    said = " ".join(made.summary().split())
    assert "dense was not searched: it is floss at densities of 1" in said
