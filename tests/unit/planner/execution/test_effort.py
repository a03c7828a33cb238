from __future__ import annotations

import json
from pathlib import Path

import pytest

from floss_sim import load_task
from floss_sim.errors import BudgetError, ConfigError
from floss_sim.network import NetworkProfile
from floss_sim.records import RunFolder
from floss_sim.records.host_notes import host_s_per_round, note_host, total_host_s
from planner.candidates import grid
from planner.execution import effort
from planner.execution.curve_store import CurveStore
from planner.execution.effort import BUSY_SHARE, Effort, allot, parse_effort
from planner.question.budget import parse_budget
from planner.question.cost import price
from planner.question.request import Request


def request(profile: NetworkProfile, **changes) -> Request:
    settings = {"reference_rank": 4, "max_rounds": 40, "effort": 0.5, "seed": 0} | changes
    candidates = settings.pop("candidates", grid([1, 4], [1.0], [1.0, 1 / 16]))
    budget = parse_budget("9-dense-rounds")
    return Request(load_task("digits"), budget, profile, candidates, **settings)


def note(store: CurveStore, asked: Request, *lines: str) -> None:
    """Write notes of host seconds into the run of the first candidate."""
    folder = store.create(asked.config(asked.candidates[0]))
    (folder.path / "host.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def line(after: int, round_: int, seconds: float) -> str:
    return json.dumps({"after": after, "round": round_, "host_s": seconds})


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


def test_a_fraction_is_of_the_grids_rounds(paper: NetworkProfile, tmp_path: Path):
    asked = request(paper)
    costs = price(asked)
    made = allot(asked, costs, CurveStore(tmp_path, "cpu"), None, 2)
    assert made == Effort(int(0.5 * costs.grid_rounds))
    assert made.to_json() == {}


def test_time_becomes_rounds_by_what_stored_rounds_took(paper: NetworkProfile, tmp_path: Path):
    store, asked = CurveStore(tmp_path, "cpu"), request(paper, training_s=12.0)
    costs = price(asked)
    note(store, asked, line(0, 30, 6.0))
    made = allot(asked, costs, store, None, 2)
    beside = sum(costs.of[c].horizon for c in set(asked.baselines().values()))
    assert made.round_s == pytest.approx(0.2)
    assert made.beside <= beside
    assert made.rounds == pytest.approx(12 * 2 * BUSY_SHARE / 0.2 - made.beside, abs=1)
    longer = allot(request(paper, training_s=24.0), costs, store, None, 2)
    assert made.rounds < longer.rounds <= costs.grid_rounds
    assert longer.to_json()["workers"] == 2


def test_rounds_of_more_clients_and_epochs_take_longer(paper: NetworkProfile, tmp_path: Path):
    store, asked = CurveStore(tmp_path, "cpu"), request(paper, training_s=30.0)
    note(store, asked, line(0, 30, 6.0))
    plain = allot(asked, price(asked), store, None, 1)
    wide = [c.__class__(c.rank, c.down_density, c.up_density, 10, 2) for c in asked.candidates]
    wider = request(paper, training_s=300.0, candidates=[*asked.candidates, *wide])
    assert allot(wider, price(wider), store, None, 1).round_s == pytest.approx(4 * plain.round_s)


def test_an_effort_too_small_names_a_sufficient_one(paper: NetworkProfile, tmp_path: Path):
    store, asked = CurveStore(tmp_path, "cpu"), request(paper, effort=1e-4)
    costs = price(asked)
    with pytest.raises(BudgetError, match=r"finishes no run.*--effort 0\.\d+ is enough") as caught:
        allot(asked, costs, store, None, 1)
    enough = parse_effort(str(caught.value).split("--effort ")[1].split()[0])
    assert allot(request(paper, **enough), costs, store, None, 1).rounds > 0
    hasty = request(paper, training_s=0.1)
    note(store, hasty, line(0, 30, 6.0))
    with pytest.raises(BudgetError, match=r"--effort \S+ is enough") as caught:
        allot(hasty, costs, store, None, 1)
    enough = parse_effort(str(caught.value).split("--effort ")[1].split()[0])
    assert allot(request(paper, **enough), costs, store, None, 1).rounds > 0


@pytest.mark.parametrize(("device", "begun"), [("cpu", 2), ("cuda", 10)])
def test_a_measurement_has_the_company_that_training_will_have(
    device: str, begun: int, paper: NetworkProfile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[int] = []

    def train_all(executor, store, jobs, on_tick, workers) -> list[int]:
        seen.append(len(jobs))
        note(store, asked, line(0, 30, 6.0))
        return [20] * len(jobs)

    monkeypatch.setattr(effort, "train_all", train_all)
    monkeypatch.setitem(effort.MAX_RUNS, device, 5)
    candidates = grid([1, 2, 3, 4], [1.0, 1 / 4], [1.0, 1 / 16])
    asked = request(paper, training_s=60.0, candidates=candidates)
    allot(asked, price(asked), CurveStore(tmp_path, device), None, 2)
    assert seen == [begun]
