"""One run has one accuracy: in plans, answers, fronts, targets, ``apply``, ``show``, pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import commands
import pytest

from planner.calls import read_plan
from planner.candidates import Candidate, grid
from planner.execution.curve_store import CurveStore
from planner.execution.stored_curves import StoredCurves
from planner.forecasts.intervals import Interval, KnownCurves
from planner.plans.plan import Plan
from planner.question.request import Request
from planner.report import plan_folder
from planner.report.plan_plots import applied_frame, curves_frame, draw_applied, draw_plan

MAKE = [
    "floss-plan", "--no-report",
    "--budget", "9-dense-rounds", "--upload-ratio", "16", "--ranks", "1,4",
    "--down-densities", "1", "--up-densities", "1/16,1/64", "--reference-rank", "4",
    "--max-rounds", "10", "--effort", "1", "--workers", "2", "--search", "grid",
]  # fmt: skip
ENDS = ("low", "mean", "high")


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a plan, the JSON that its command printed, and the store."""
    return commands.write_plan(tmp_path_factory.mktemp("planned"), *MAKE, "--json", "--out", "plan")


@pytest.fixture
def call(
    planned: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
):  # fmt: skip
    shutil.copytree(planned, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("FLOSS_SIM_STORE", str(tmp_path / "store"))

    def run(*words: str) -> str:
        code, out, err = commands.call(monkeypatch, capfd, *words)
        assert code in (0, 3), err
        return out

    return run


def door(store: Path) -> KnownCurves:
    """Return the estimator of all curves of a store, which knows no plan."""
    request = Request.of(
        "digits", "paper-200-20", upload_ratio=16, reference_rank=4, max_rounds=10,
        candidates=grid([1, 4], [1.0], [1 / 16, 1 / 64]),
    )  # fmt: skip
    return StoredCurves.of(request, CurveStore(store, "cpu")).known


def ends(told: Any) -> tuple[float, ...]:
    """Return low, mean and high of an interval, given as plain values or as an object."""
    return tuple(told[end] if isinstance(told, dict) else getattr(told, end) for end in ENDS)


def of(made: dict[str, Any]) -> tuple[Candidate, int]:
    axes = ("rank", "down_density", "up_density")
    return Candidate(*(made[axis] for axis in axes)), made["rounds"]


def shown(content: dict[str, Any]) -> list[tuple[tuple[Candidate, int], Any, float]]:
    """Return every accuracy of a plan: candidate and round, interval, expected accuracy."""
    baselines = [made for made in content["baselines"].values() if made]
    runs = [content["recommendation"], *content["runners_up"], *baselines]
    told = [(of(m), m["interval"], m["validation_accuracy"]) for m in [*runs, *content["front"]]]
    told += [(of(way), way["interval"], way["interval"]["mean"]) for way in content["cheaper"]]
    for answer in content["also"]:
        at = Candidate(**answer["candidate"]), answer["rounds"]
        told.append((at, answer["interval"], answer["accuracy"]))
    return told


def test_every_surface_gives_a_run_the_same_accuracy(call, tmp_path: Path):
    front = json.loads(call(*MAKE, "--pareto", "--also", "2-dense-rounds", "--json"))
    missed = json.loads(call(*MAKE, "--target", "0.999", "--json"))
    plain = json.loads((tmp_path / "printed.json").read_text(encoding="utf-8"))
    known = door(tmp_path / "store")
    assert front["front"] and plain["cheaper"] and front["also"]
    best = plain["recommendation"]
    for content in (front, missed, plain):
        for at, interval, accuracy in shown(content):
            assert ends(interval) == pytest.approx(ends(known.intervals_at([at])[at]), abs=1e-12)
            assert accuracy == interval["mean"]
        assert of(content["recommendation"]) == of(best)
        assert content["recommendation"]["interval"] == best["interval"]

    (answer,) = json.loads(call(*MAKE, "--effort", "0", "--json"))["answers"]
    assert (answer["kind"], answer["rounds"]) == ("measured", best["rounds"])
    assert ends(answer["interval"]) == pytest.approx(ends(best["interval"]), abs=1e-12)
    applied = json.loads(call("floss-plan", "apply", "plan", "--json"))
    assert applied["interval"] == best["interval"] == applied["planned"]["interval"]
    assert applied["validation_accuracy"] == best["validation_accuracy"]
    assert json.loads(call("floss-plan", "show", "plan", "--json")) == plain

    percent = f"{100 * answer['accuracy']:.1f}±"
    assert percent in call("floss-plan", "show", "plan")
    assert percent in call(*MAKE, "--effort", "0")
    realised = call("floss-plan", "apply", "plan").splitlines()
    (row,) = (line.split() for line in realised if "validation accuracy  " in line)
    half = (best["interval"]["high"] - best["interval"]["low"]) / 2
    assert row[2] == row[4] == f"{answer['accuracy']:.3f}±{half:.3f}"
    assert pictured(read_plan(tmp_path / "plan")) == pytest.approx(
        [100 * end for end in (*ends(best["interval"]), *ends(best["interval"]))]
    )


def pictured(plan: Plan) -> list[float]:
    """Return the recommendation's interval in both pictures: low, mean and high, in percent."""
    runs, best = plan_folder.labelled_runs(plan), plan.recommendation
    frame = curves_frame({label: run.curve for label, run in runs.items()})
    told = {label: run.interval for label, run in runs.items() if run.interval}
    (axes,) = draw_plan(frame, "", "", None, told).axes
    interval = best.interval
    assert isinstance(interval, Interval)
    applied = applied_frame(best.curve, best.curve, 0, 0)
    (other,) = draw_applied(applied, "", (best.rounds, *ends(interval))).axes
    return [*_bar(axes.containers[0]), *_bar(other.containers[0])]


def _bar(container: Any) -> tuple[float, float, float]:
    """Return lower end, middle and upper end of an error bar."""
    middle, _, (bar,) = container
    (_, low), (_, high) = bar.get_segments()[0]
    return float(low), float(middle.get_ydata()[0]), float(high)


def test_a_target_is_reached_by_the_accuracy_that_is_shown(call, tmp_path: Path):
    plain = json.loads((tmp_path / "printed.json").read_text(encoding="utf-8"))
    target = plain["recommendation"]["validation_accuracy"] - 0.02
    made = json.loads(call(*MAKE, "--target", f"{target:.6f}", "--json", "--out", "aimed"))
    best = made["recommendation"]
    assert made["reached"]
    assert best["validation_accuracy"] == best["interval"]["mean"] >= target - 1e-6
    printed = call("floss-plan", "show", "aimed")
    assert f"validation accuracy\n{best['validation_accuracy']:.3f}" in printed or (
        f"validation accuracy {best['validation_accuracy']:.3f}" in printed
    )
