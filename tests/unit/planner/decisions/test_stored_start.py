"""Searches that are followed in a store as far as it holds them, and their steady progress."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from timed_training import TimedTraining

from planner import Request, grid
from planner.candidates import Candidate
from planner.decisions.stored_start import stored_start
from planner.execution.curve_store import CurveStore
from planner.execution.effort import effort_of_fraction
from planner.planning import make_plan
from planner.plans.plan import Plan
from planner.progress import Progress
from planner.question.cost import price
from planner.question.objective import Objective

SEARCHES = ("race", "halving", "random")


def asked(**changes: Any) -> Request:
    settings = {"budget": "20-dense-rounds", "reference_rank": 4, "max_rounds": 40, "effort": 0.6}
    space = grid([1, 4], [1.0, 1 / 4], [1.0, 1 / 16])
    return Request.of("digits", "paper-200-20", candidates=space, **(settings | changes))


def planned(request: Request, store: CurveStore, patch: pytest.MonkeyPatch) -> tuple[Plan, list]:
    """Return the plan of a search without torch, and its progress."""
    training = TimedTraining(lambda now_s: 1.0, 1.0).install(patch)
    seen: list[Progress] = []
    return make_plan(request, training.trainer(store, 2), seen.append), seen


def start(request: Request, store: CurveStore):
    costs = price(request)
    return stored_start(request, costs, store, effort_of_fraction(request, costs).rounds)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Plan, list]]:
    """Return a function: a search's store, its plan and the progress; made once for all tests."""

    @cache
    def made(search: str) -> tuple[Path, Plan, list]:
        path = tmp_path_factory.mktemp(search)
        with pytest.MonkeyPatch.context() as patch:
            return path, *planned(asked(search=search), CurveStore(path, "cpu"), patch)

    return made


@pytest.mark.parametrize("search", SEARCHES)
def test_a_search_that_the_store_holds_is_followed_to_its_end(
    whole, search: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path, plan, _ = whole(search)
    shutil.copytree(path, tmp_path, dirs_exist_ok=True)
    request, store = asked(search=search), CurveStore(tmp_path, "cpu")
    files = sorted(tmp_path.rglob("*/*"))
    found = start(request, store)
    assert found.is_whole
    assert found.lacking == 0
    assert found.asked == found.held == plan.effort["search_rounds"]
    assert sorted(tmp_path.rglob("*/*")) == files
    again, _ = planned(request, store, monkeypatch)
    assert again.effort["trained_now_rounds"] == 0


def test_an_empty_store_takes_a_search_nowhere(tmp_path: Path):
    found = start(asked(), CurveStore(tmp_path / "new", "cpu"))
    assert not found.is_whole
    assert found.held == 0
    assert found.lacking == found.asked > 0
    assert not list(tmp_path.iterdir())


def test_a_search_is_followed_up_to_the_first_rounds_that_the_store_lacks(whole, tmp_path: Path):
    path, plan, _ = whole("halving")
    shutil.copytree(path, tmp_path, dirs_exist_ok=True)
    request, store = asked(search="halving"), CurveStore(tmp_path, "cpu")
    best: Candidate = plan.recommendation.candidate
    folder = store.find(request.config(best))
    rounds = folder.manifest().rounds
    shutil.rmtree(folder.path)
    found = start(request, store)
    assert not found.is_whole
    assert 0 < found.lacking <= rounds
    assert 0 < found.held < plan.effort["search_rounds"]


@pytest.mark.parametrize(
    ("search", "target"), [*((s, None) for s in SEARCHES), ("race", 0.5), ("race", 0.99)]
)
def test_progress_counts_up_to_one_number_of_rounds(
    whole, search: str, target: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """With a target, a search has several passes."""
    request = asked(search=search, objective=Objective(target))
    if target is None:
        _, plan, seen = whole(search)
    else:
        plan, seen = planned(request, CurveStore(tmp_path, "cpu"), monkeypatch)
    counted = [now for now in seen if now.expected]
    assert counted
    done = [now.done for now in counted]
    assert done == sorted(done)
    assert done[-1] >= plan.effort["trained_now_rounds"]
    expected = [now.expected for now in counted]
    assert expected == sorted(expected)
    assert all(now.done <= now.expected for now in counted)
    costs = price(request)
    most = effort_of_fraction(request, costs).rounds
    baselines = set(request.baselines().values())
    most += sum(costs.of[c].horizon for c in baselines & costs.of.keys())
    assert expected[-1] <= max(most, done[-1])
    runs = [now.runs for now in counted]
    assert runs == sorted(runs)
    assert math.isfinite(counted[-1].best or math.inf)
