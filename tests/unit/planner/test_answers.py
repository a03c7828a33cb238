from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_plans import whole_plan
from stand_in_learners import CountingLearner

from floss_sim import load_profile, load_task, retime, run
from floss_sim.analysis.costs import account
from floss_sim.analysis.time_spread import TimeSpread
from floss_sim.analysis.traffic import Traffic
from floss_sim.errors import BudgetError, ProfileError
from floss_sim.network import NetworkProfile
from floss_sim.network.profile import EnergySection, PricesSection
from floss_sim.training import learner_identity
from planner.answers import BudgetOnNetwork, answer_all, check_cells, parse_cells
from planner.candidates import Candidate, grid
from planner.decisions.stored_choice import best_early_stop, best_stored_candidate
from planner.execution.curve_store import CurveStore, last_evaluated_round
from planner.forecasts.intervals import Interval, KnownCurves
from planner.plans.time_section import TimeSection
from planner.question.budget import parse_budget
from planner.question.cost import price
from planner.question.request import Request
from planner.report.answer_text import answer_row, answer_sentences, cost_rows

SPACE = grid([1, 2], [1], [1, 1 / 16])
A, B, C = SPACE[:3]


def request(paper: NetworkProfile) -> Request:
    return Request(
        task=load_task("digits"),
        budget=parse_budget("1MB"),
        profile=paper,
        candidates=SPACE,
        reference_rank=2,
        max_rounds=20,
        effort=0.0,
        seed=0,
    )


def stored(asked: Request, root: Path, rounds: dict[Candidate, int]) -> CurveStore:
    """Return a store that holds made-up runs of some candidates."""
    store = CurveStore(root, "cpu")
    for candidate, count in rounds.items():
        config, learner = asked.config(candidate), CountingLearner()
        learner.identity = learner_identity(config)  # it stands for the store's
        folder = store.create(config)
        with folder.lock():
            run(config, asked.profile, learner, rounds=count, folder=folder, eval_every=1)
    return store


def one(asked: Request, store: CurveStore, budget: str, network: str = "paper-200-20"):
    (answer,) = answer_all(
        asked, [BudgetOnNetwork(load_profile(network), parse_budget(budget))], store
    )
    return answer


def test_cells_are_networks_and_budgets(paper: NetworkProfile):
    first, second = parse_cells("10-dense-rounds, lte:1h", paper)
    assert (first.profile.name, first.budget.text) == (paper.name, "10-dense-rounds")
    assert (second.profile.name, second.budget.amount) == ("lte", 3600)
    with pytest.raises(BudgetError, match="names no budget"):
        parse_cells(" , ", paper)
    with pytest.raises(BudgetError, match="51 cells to answer; valid: at most 50"):
        parse_cells(",".join(["1h"] * 51), paper)
    with pytest.raises(ProfileError, match="'moon'"):
        parse_cells("moon:1h", paper)


def test_a_run_that_reaches_the_end_of_a_budget_measures_it(paper: NetworkProfile, tmp_path: Path):
    asked = request(paper)
    store = stored(asked, tmp_path, {A: 20})
    capped = one(asked, store, "1GB")
    assert (capped.kind, capped.candidate, capped.rounds, capped.confirm_rounds) == (
        "measured", A, 20, 0,
    )  # fmt: skip
    short = one(asked, store, "60kB")  # a round takes about 6 kB
    assert short.kind == "measured"
    assert 5 <= short.rounds < 20
    assert short.total_bytes <= 60_000
    assert (capped.measured, capped.searched) == (1, 4)
    timed = one(asked, store, "2s", "lte")
    assert timed.simulated_s <= 2
    assert timed.network == "lte"


def test_an_answer_has_the_time_of_its_rounds_on_every_fleet(paper: NetworkProfile, tmp_path: Path):
    asked, network = request(paper), load_profile("mobile-mixed")
    store = stored(asked, tmp_path, {A: 20})
    found = one(asked, store, "1.5s", network.name)
    record = store.folder(asked.config(A)).record()
    fleets = [network.model_copy(update={"seed": seed}) for seed in range(40)]
    last = found.rounds - 1
    seconds = [retime(record, fleet).rounds["closed_at_s"][last].as_py() for fleet in fleets]
    assert found.time.seconds == pytest.approx(seconds)
    assert found.time.median_s == pytest.approx(np.median(seconds))
    assert found.simulated_s == found.time.median_s <= 1.5
    later = next(n for n in range(found.rounds + 1, 21) if last_evaluated_round(n) == n)
    closed = [retime(record, fleet).rounds["closed_at_s"][later - 1].as_py() for fleet in fleets]
    assert np.median(closed) > 1.5
    assert found.time.low_s < found.time.high_s


def test_an_answer_has_what_its_rounds_take_of_devices(paper: NetworkProfile, tmp_path: Path):
    """By the rows of the record, and by the account of the record on the priced network."""
    energy = EnergySection(joules_per_mb_down=3.0, joules_per_mb_up=7.0, compute_watts=2.0)
    prices = PricesSection(currency="EUR", per_gb_down=1.0, per_gb_up=5.0, per_joule=1e-4)
    network = load_profile("lte").model_copy(update={"energy": energy, "prices": prices})
    asked = request(paper)
    store = stored(asked, tmp_path, {A: 12})
    cells = [BudgetOnNetwork(made, parse_budget("60kB")) for made in (network, paper)]
    known, unknown = answer_all(asked, cells, store)
    record = retime(store.folder(asked.config(A)).record(), network)
    device: Counter[int] = Counter()
    for row in record.transfers.to_pylist():
        if row["round"] <= known.rounds:
            device[row["client"]] += row["nbytes"]
    costs = account(record, network).table().to_pandas().query("round <= @known.rounds")
    for told in (known.usage, unknown.usage):
        assert told.busiest_device_bytes == max(device.values())
        assert told.mean_device_bytes == pytest.approx(sum(device.values()) / 50)
    assert known.usage.energy_j == pytest.approx(costs.energy_j.sum())
    assert known.usage.busiest_device_j == pytest.approx(
        costs.groupby("client").energy_j.sum().max()
    )
    assert (known.usage.money, known.usage.currency) == (pytest.approx(costs.money.sum()), "EUR")
    assert unknown.usage.energy_j is unknown.usage.busiest_device_j is unknown.usage.money is None


def test_a_forecast_has_what_its_predicted_messages_take(paper: NetworkProfile, tmp_path: Path):
    asked = request(paper)
    told = one(asked, stored(asked, tmp_path, {A: 10}), "1GB")
    assert told.kind == "forecast"
    traffic = Traffic.predict(asked.config(told.candidate), told.rounds)
    assert told.usage.busiest_device_bytes == round(traffic.busiest_bytes()[-1])
    assert told.usage.mean_device_bytes == pytest.approx(told.total_bytes / 50)


@pytest.mark.parametrize(
    "text",
    ["1kB/device", "5kB", "1kB/client", "1kB/month@3/day", "1J", "0.00001EUR", "0.1%battery@1J",
     "1-dense-rounds"],
)  # fmt: skip
def test_a_budget_below_one_round_is_refused_as_a_search_refuses_it(text: str, tmp_path: Path):
    energy = EnergySection(joules_per_mb_down=300.0, joules_per_mb_up=700.0)
    prices = PricesSection(currency="EUR", per_gb_down=10.0, per_gb_up=50.0)
    network = load_profile("lte").model_copy(update={"energy": energy, "prices": prices})
    asked = replace(request(network), reference_rank=1, candidates=[Candidate(16, 1.0, 1.0)])
    cell = BudgetOnNetwork(network, parse_budget(text))
    with pytest.raises(BudgetError) as searched:
        price(replace(asked, budget=cell.budget))
    assert "affords no round of any candidate" in str(searched.value)
    for refused in (
        lambda: check_cells(asked, [cell]),
        lambda: answer_all(asked, [cell], CurveStore(tmp_path, "cpu")),
    ):
        with pytest.raises(BudgetError) as error:
            refused()
        assert str(error.value) == str(searched.value)


def test_a_round_that_a_record_affords_is_answered(paper: NetworkProfile, tmp_path: Path):
    """Predicted sizes are above the budget, those of the record are not."""
    asked = request(paper)
    store = stored(asked, tmp_path, {A: 3})
    real = Traffic.of(store.folder(asked.config(A)).record()).nbytes()[0]
    predicted = Traffic.predict(asked.config(A), 1).nbytes()[0]
    assert real < predicted
    only = replace(asked, candidates=[A], reference_rank=16)
    cell = BudgetOnNetwork(paper, parse_budget(f"{real:.0f}B"))
    (told,) = answer_all(only, [cell], store)
    assert (told.kind, told.rounds) == ("measured", 1)
    with pytest.raises(BudgetError, match="affords no round"):
        check_cells(only, [cell])


def test_a_run_that_ends_before_the_budget_is_a_forecast(paper: NetworkProfile, tmp_path: Path):
    asked = request(paper)
    answer = one(asked, stored(asked, tmp_path, {A: 10, B: 3}), "1GB")
    assert answer.kind == "forecast"
    assert answer.rounds == 20
    assert answer.confirm_rounds == 20 - {A: 10, B: 3}.get(answer.candidate, 0)
    assert answer.interval.low <= answer.accuracy <= answer.interval.high
    assert answer.confirm_s > 0


def test_rounds_that_would_take_too_long_are_no_answer(paper: NetworkProfile, tmp_path: Path):
    asked = request(paper)
    round_s = sorted(cost.round_s for c, cost in price(asked).of.items() if c in SPACE)
    between = replace(asked, max_round_s=(round_s[1] + round_s[2]) / 2)
    assert one(between, CurveStore(tmp_path / "none", "cpu"), "1GB").searched == 2
    # The first rounds of a run, a large first download in them, say nothing of the mean.
    stored_too = one(between, stored(asked, tmp_path / "some", dict.fromkeys(SPACE, 2)), "1GB")
    assert stored_too.searched == 2


def test_an_answer_says_in_what_else_a_candidate_differs():
    sure = whole_plan().also[0]
    wider = sure.model_copy(update={"candidate": replace(sure.candidate, epochs=2)})
    assert answer_row(wider, "paper")[-1] == "2 epochs"


def test_without_curves_it_is_unknown_and_nothing_is_written(paper: NetworkProfile, tmp_path: Path):
    asked = request(paper)
    answer = one(asked, CurveStore(tmp_path / "none", "cpu"), "1GB")
    assert (answer.kind, answer.candidate, answer.confirm_rounds) == ("unknown", None, 20)
    assert not (tmp_path / "none").exists()


def test_damaged_runs_are_left_out_and_counted(paper: NetworkProfile, tmp_path: Path):
    asked = request(paper)
    store = stored(asked, tmp_path, {A: 20, B: 20})
    (store.folder(asked.config(B)).path / "manifest.json").write_text("{", encoding="utf-8")
    answer = one(asked, store, "1GB")
    assert (answer.candidate, answer.skipped) == (A, 1)
    assert "1 damaged runs of the store were left out." in answer_sentences([answer])
    shutil.rmtree(store.folder(asked.config(A)).path)
    assert one(asked, store, "1GB").kind == "unknown"


def test_answers_say_on_which_networks_seconds_are_traffic_alone(
    paper: NetworkProfile, tmp_path: Path
):
    asked = request(paper)
    store = stored(asked, tmp_path, {A: 20})
    found = [one(asked, store, "1MB", network) for network in ("paper-200-20", "lte")]
    assert [answer.traffic_alone for answer in found] == [True, False]
    lines = [line for line in answer_sentences(found * 2) if "traffic alone" in line]
    assert [line.split()[0] for line in lines] == ["paper-200-20"]
    unknown = one(asked, CurveStore(tmp_path / "new", "cpu"), "1MB")  # which shows no seconds
    assert not [line for line in answer_sentences([unknown]) if "traffic alone" in line]


def test_an_answer_stops_early_where_forecasts_fall(
    paper: NetworkProfile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def falling(self, asked):
        return {
            c: told(0.95 - n / 25, 0.01, "measured" if n == 5 else "forecast")
            for c, n in asked.items()
        }

    monkeypatch.setattr(KnownCurves, "intervals", falling)
    asked = request(paper)
    store = stored(asked, tmp_path, {A: 5})
    small, large = one(asked, store, "30kB"), one(asked, store, "1GB")
    assert (small.kind, small.candidate, small.rounds) == ("measured", A, 5)
    assert (large.kind, large.candidate, large.rounds) == ("measured", A, 5)
    assert (large.accuracy, large.confirm_rounds, large.affords) == (small.accuracy, 0, 20)
    assert large.total_bytes == small.total_bytes
    assert "1GB: after round 5 of 20 affordable rounds stop" in answer_sentences([large])[0]


def test_what_longer_runs_reach_is_unknown_where_all_forecasts_are_vague(
    paper: NetworkProfile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def vague(self, asked):
        return {
            c: told(0.5, 0.02, "measured") if n == 5 else told(0.4, 0.2) for c, n in asked.items()
        }

    monkeypatch.setattr(KnownCurves, "intervals", vague)
    asked = request(paper)
    answer = one(asked, stored(asked, tmp_path, {A: 5}), "1GB")
    assert (answer.kind, answer.candidate, answer.rounds) == ("measured", A, 5)
    assert (answer.confirm_rounds, answer.affords) == (15, 20)
    assert "What longer runs reach is unknown" in answer_sentences([answer])[0]


def test_an_answer_says_that_nothing_was_learned(
    paper: NetworkProfile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked = request(paper)
    chance = asked.chance_accuracy()
    store = stored(asked, tmp_path, {A: 20})
    for excess, learned in ((0.01, False), (0.1, True)):
        made = told(chance + excess, 0.01, "measured")
        monkeypatch.setattr(
            KnownCurves,
            "intervals",
            lambda self, asked, made=made: {A: made} if A in asked else {},
        )
        answer = one(asked, store, "1GB")
        assert (answer.chance, answer.learned) == (chance, learned)
        said = any("nothing was learned" in line for line in answer_sentences([answer]))
        assert said is not learned


def test_a_run_stops_only_where_nothing_better_is_known():
    ends = {A: told(0.9, 0.01, "measured"), B: told(0.8, 0.01, "measured")}
    nbytes = {A: 9.0, B: 1.0}
    assert best_early_stop(ends, nbytes, told(0.91, 0.05)) is None
    assert best_early_stop(ends, nbytes, told(0.89, 0.05)) == A
    assert best_early_stop(ends, nbytes, None) == A
    assert best_early_stop({}, {}, None) is None


def told(mean: float, deviation: float, kind: str = "forecast") -> Interval:
    half = 1.645 * deviation
    return Interval(mean - half, mean, mean + half, kind)


def test_a_forecast_is_preferred_only_where_it_is_clearly_better():
    seen = {A: told(0.9, 0.01, "measured"), B: told(0.898, 0.01, "measured")}
    nbytes = {A: 9.0, B: 1.0}
    assert best_stored_candidate({}, nbytes, {}) is None
    far = dict.fromkeys((A, B, C), 0.5)
    assert best_stored_candidate({A: told(0.8, 0.1), B: told(0.75, 0.01)}, nbytes, far) == B
    assert best_stored_candidate({**seen, C: told(0.93, 0.05)}, nbytes, far) == B  # ties with A
    assert best_stored_candidate({**seen, B: told(0.93, 0.05)}, nbytes, far) == A
    assert best_stored_candidate({**seen, C: told(0.93, 0.01)}, nbytes, far) == C


def test_a_forecast_from_a_short_beginning_has_to_promise_more():
    known = {A: told(0.9, 0.01, "measured"), C: told(0.925, 0.02)}
    assert best_stored_candidate(known, {A: 9.0}, {C: 0.34}) == C
    assert best_stored_candidate(known, {A: 9.0}, {C: 0.3}) == A
    assert best_stored_candidate(known, {A: 9.0}, {}) == A


def test_rows_mark_what_is_forecast():
    sure, likely, unknown = (answer_row(answer, "paper") for answer in whole_plan().also)
    assert sure == ("2MB", "4", "1", "1/16", "9", "95.0±1.7", "measured", "-", "")
    assert likely == (
        "lte: 1h",
        "4",
        "1",
        "1/16",
        "9",
        "~96.0±0.9",
        "forecast",
        "130 rounds, 40 s",
        "",
    )
    assert unknown == ("lte: 9s", "-", "-", "-", "-", "-", "unknown", "3 rounds", "")
    first = answer_sentences(whole_plan().also)[0]
    assert "~96.0±0.9 is a forecast, 90 % interval (0.950 to 0.968)" in first
    assert (
        "Time is simulated: median (5 to 95 %) over fleets that the network may draw, same cohorts."
    ) in answer_sentences(whole_plan().also)
    also = list(whole_plan().also)
    also[1] = also[1].model_copy(update={"total_bytes_error": 0.04})
    assert cost_rows(also, "paper") == [
        ("2MB", "4 s (3 s to 6 s)", "10 kB", "2 of 8"),
        ("lte: 1h", "4 s (3 s to 6 s)", "10 kB ± 4 %", "2 of 8"),
        ("lte: 9s", "-", "-", "0 of 0"),
    ]
    same = TimeSection.of(TimeSpread((4.0,), "closed form"))
    known = [a.model_copy(update={"time": same}) for a in whole_plan().also[:2]]
    assert [row[1] for row in cost_rows(known, "paper")] == ["4 s", "4 s"]
    assert "Time is simulated" not in " ".join(answer_sentences(known))
    probed = TimeSection.of(TimeSpread((4.0, 5.0), "probed"))
    lines = answer_sentences([whole_plan().also[0].model_copy(update={"time": probed})])
    assert "≈: the first rounds of each fleet are exact, the others are scaled." in lines
