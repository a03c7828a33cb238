from __future__ import annotations

from pathlib import Path

import pytest

from floss_sim import load_task
from floss_sim.errors import BudgetError, ConfigError
from floss_sim.network import NetworkProfile
from floss_sim.records import RunFolder
from floss_sim.records.host_notes import host_s_per_round, note_host, total_host_s
from planner.candidates import grid
from planner.execution.curve_store import CurveStore
from planner.execution.effort import (
    BUSY_SHARE,
    Effort,
    baseline_rounds,
    effort_of_fraction,
    effort_of_time,
    parse_effort,
)
from planner.execution.pace import Pace, steps_of_round
from planner.question.budget import parse_budget
from planner.question.cost import price
from planner.question.request import Request


def request(profile: NetworkProfile, **changes) -> Request:
    settings = {"reference_rank": 4, "max_rounds": 40, "effort": 0.5, "seed": 0} | changes
    candidates = settings.pop("candidates", grid([1, 4], [1.0], [1.0, 1 / 16]))
    budget = parse_budget("9-dense-rounds")
    return Request(load_task("digits"), budget, profile, candidates, **settings)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.2", {"effort": 0.2}),
        ("1", {"effort": 1.0}),
        ("0", {"effort": 0.0}),
        ("10min", {"effort": 1.0, "training_s": 600.0}),
        ("1.5 h", {"effort": 1.0, "training_s": 5400.0}),
    ],
)
def test_efforts_are_read(text: str, expected: dict):
    assert parse_effort(text) == expected


@pytest.mark.parametrize("text", ["", "much", "10 parsec", "0min", "-5min", "10%"])
def test_what_is_no_effort_is_refused(text: str):
    with pytest.raises(ConfigError, match=r"valid: .* 0\.2, or time such as 10min"):
        parse_effort(text)


def test_notes_count_each_opening_once_and_survive_damage(tmp_path: Path):
    folder = RunFolder.open(tmp_path / "run", {"trajectory": {}, "record_version": 0})
    assert total_host_s(folder.path) == (0, 0.0)
    note_host(folder.path, 0, 10, 1.0)
    note_host(folder.path, 0, 15, 2.0)
    note_host(folder.path, 15, 45, 5.0)  # opened again: it took longer than all before
    with (folder.path / "host.jsonl").open("a") as file:
        file.write('{"round": 9, "host_s": 4}\nno note\n[1]\n')
    assert total_host_s(folder.path) == (45, 7.0)
    assert host_s_per_round(folder.path) == pytest.approx(7 / 45)


def pace(step_s: float, evaluation_s: float = 0.0, measuring_s: float = 0.0) -> Pace:
    return Pace(step_s, step_s, step_s, evaluation_s, 5.0, 10**8, measuring_s)


def timed(asked: Request, store: CurveStore, workers: int = 2, step_s: float = 0.01) -> Effort:
    return effort_of_time(asked, price(asked), store, pace(step_s), workers)


def test_a_fraction_is_of_the_grids_rounds(paper: NetworkProfile):
    asked = request(paper)
    costs = price(asked)
    made = effort_of_fraction(asked, costs)
    assert made == Effort(int(0.5 * costs.grid_rounds))
    assert made.to_json() == {}
    assert made.allowance(costs).rounds_left(3) == made.rounds - 3


def test_time_becomes_rounds_by_the_pace(paper: NetworkProfile, tmp_path: Path):
    store, asked = CurveStore(tmp_path, "cpu"), request(paper, training_s=8.0)
    costs = price(asked)
    steps = steps_of_round(asked.reference())
    made = timed(asked, store)
    assert made.round_s == pytest.approx(0.01 * steps)
    assert made.beside == baseline_rounds(asked, costs, store) > 0
    assert made.rounds == pytest.approx(8 * 2 * BUSY_SHARE / made.round_s - made.beside, abs=1)
    longer = timed(request(paper, training_s=9.0), store)
    assert made.rounds < longer.rounds <= costs.grid_rounds
    assert longer.to_json(8.7) == {
        "training_s": 9.0, "host_s_per_round": made.round_s, "workers": 2,
        "planned_rounds": longer.rounds, "took_s": 8.7,
    }  # fmt: skip


def test_a_measurement_is_part_of_the_time(paper: NetworkProfile, tmp_path: Path):
    store, asked = CurveStore(tmp_path, "cpu"), request(paper, training_s=8.0)
    costs = price(asked)
    slow = effort_of_time(asked, costs, store, pace(0.01, measuring_s=4.0), 2)
    quick = effort_of_time(request(paper, training_s=4.0), costs, store, pace(0.01), 2)
    assert slow.rounds == quick.rounds
    allowance = slow.allowance(costs, lambda: 100.0)
    assert allowance.left_s == pytest.approx(0.97 * 8.0 - 4.0)


def test_evaluations_take_time_too(paper: NetworkProfile, tmp_path: Path):
    asked, costs = request(paper, training_s=60.0), price(request(paper))
    config = asked.config(asked.candidates[0])
    plain, measured = pace(0.01).run_s(config, 40)[1], pace(0.01, 0.5).run_s(config, 40)[1]
    assert measured - plain == pytest.approx(0.5 * 12)  # rounds 1, 2, 3, 5, 7, 10, 15, ..., 40
    assert pace(0.01, 0.5).round_s(asked, costs) > pace(0.01).round_s(asked, costs)


def test_rounds_of_more_clients_and_epochs_take_longer(paper: NetworkProfile, tmp_path: Path):
    asked = request(paper)
    wide = [c.__class__(c.rank, c.down_density, c.up_density, 10, 2) for c in asked.candidates]
    wider = request(paper, candidates=wide)
    plain = pace(0.01).round_s(asked, price(asked))
    assert pace(0.01).round_s(wider, price(wider)) == pytest.approx(4 * plain)


def test_an_effort_too_small_names_a_sufficient_one(paper: NetworkProfile, tmp_path: Path):
    store, asked = CurveStore(tmp_path, "cpu"), request(paper, effort=1e-4)
    costs = price(asked)
    with pytest.raises(BudgetError, match=r"finishes no run.*--effort 0\.\d+ is enough") as caught:
        effort_of_fraction(asked, costs)
    shortest = min(costs.of[c].horizon for c in costs.searched)
    assert str(caught.value).startswith(
        f"the search effort of 0.0001 finishes no run: it is 0 of the "
        f"{costs.grid_rounds} rounds that the budget affords all candidates, and the shortest run "
        f"takes {shortest}; "
    )
    enough = parse_effort(str(caught.value).split("--effort ")[1].split()[0])
    assert effort_of_fraction(request(paper, **enough), costs).rounds > 0
    with pytest.raises(BudgetError, match=r"--effort \S+ is enough") as caught:
        timed(request(paper, training_s=0.1), store)
    enough = parse_effort(str(caught.value).split("--effort ")[1].split()[0])
    assert timed(request(paper, **enough), store).rounds > 0


def test_a_run_trains_in_one_process_however_many_there_are(paper: NetworkProfile, tmp_path: Path):
    asked, store = request(paper, training_s=2.0), CurveStore(tmp_path, "cpu")
    assert timed(asked, store, workers=1, step_s=0.001).rounds > 0
    with pytest.raises(BudgetError, match="finishes no run"):
        timed(asked, store, workers=1000, step_s=0.05)
