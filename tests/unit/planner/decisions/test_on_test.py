"""Test figures of the reported runs: leads are those of the table, and no choice reads them."""

from __future__ import annotations

import json
from pathlib import Path

import commands
import numpy as np
import pytest
from made_plans import outcome

import planner.execution.trainer
import planner.session
from floss_sim.analysis.on_test import HitsOnTest
from planner.candidates import Candidate
from planner.decisions.on_test import ReportedOnTest

BEST, DENSE, RULE = (Candidate(rank, 1.0, 1 / 16) for rank in (4, 16, 1))
ONES = np.ones(4, np.int64)


def hits(*right: float) -> HitsOnTest:
    return HitsOnTest(np.array(right), 6)


def reported(seed_sd: float = 0.1, **runs) -> ReportedOnTest:
    named = {"best": BEST, "dense": DENSE, "rule": RULE}
    return ReportedOnTest({named[name]: made for name, made in runs.items()}, ONES, seed_sd)


def test_differences_are_those_of_the_accuracies_over_all_seeds_of_each():
    ours = [hits(1, 1, 1, 0), hits(1, 1, 1, 1)]
    made = reported(best=ours, dense=[hits(1, 0, 1, 0)], rule=[hits(1, 1, 0, 0), hits(1, 0, 0, 0)])
    found = made.differences(BEST, {"dense": DENSE, "thesis_rule": RULE})
    assert (found["dense"].mean, found["dense"].seeds) == (7 / 8 - 1 / 2, 1)
    assert (found["thesis_rule"].mean, found["thesis_rule"].seeds) == (0.5, 2)
    assert made.outcome(outcome(4, 0.9)).test.mean == 7 / 8


def test_a_plan_that_is_a_baseline_is_not_compared_with_itself():
    made = reported(best=[hits(1, 1, 1, 0)])
    assert made.differences(BEST, {"dense": BEST, "thesis_rule": RULE}) == {}
    assert made.outcome(outcome(16, 0.9)).test is None


def test_seeds_vary_as_they_do_on_validation():
    ours, theirs = [hits(1, 1, 1, 0)], [hits(1, 0, 1, 0)]
    calm, wild = (reported(sd, best=ours, dense=theirs) for sd in (0.0, 2.0))
    widths = [made.differences(BEST, {"dense": DENSE})["dense"].high for made in (calm, wild)]
    assert widths[0] < widths[1]


MAKE = [
    "floss-plan", "--no-report",
    "--budget", "3-dense-rounds", "--upload-ratio", "16", "--ranks", "1,4",
    "--down-densities", "1", "--up-densities", "1/16,1/64", "--reference-rank", "4",
    "--max-rounds", "3", "--effort", "1", "--workers", "2", "--json",
]  # fmt: skip


def test_no_choice_reads_a_test_figure(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
):
    """Whatever is right on test, the same is chosen, forecast and said of validation."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLOSS_SIM_STORE", str(tmp_path / "store"))
    plans = []
    for wrong in (False, True):
        if wrong:
            monkeypatch.setattr(
                planner.execution.trainer.LocalTrainer,
                "on_test",
                lambda trainer, jobs: [HitsOnTest(np.zeros(350), 1) for _ in jobs],
            )
        code, out, err = commands.call(monkeypatch, capfd, *MAKE)
        assert code == 0, err
        plans.append(json.loads(out))
    assert plans[0]["recommendation"]["test"]["mean"] > 0.05
    assert plans[1]["recommendation"]["test"]["mean"] == 0
    assert without_test(plans[0]) == without_test(plans[1])


def without_test(made):
    """Return plain values without the test figures, and without what was trained just now."""
    left_out = {"test", "test_accuracy", "test_differences"}
    left_out |= {"trained_now_rounds", "trained_now_runs"}
    if isinstance(made, dict):
        return {key: without_test(value) for key, value in made.items() if key not in left_out}
    return [without_test(value) for value in made] if isinstance(made, list) else made
