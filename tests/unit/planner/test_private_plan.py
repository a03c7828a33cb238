"""Plans of private runs: one clip and noise for all, the epsilon of each, and an epsilon as limit.

A stand-in for the library of epsilon lets r rounds with noise s spend r / s, and 2 r / s of those
in which the busiest client took part.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import call
from edited_plans import changed, refusal
from read_pages import ReadPage
from timed_training import TimedTraining

from floss_sim import load_task
from floss_sim.analysis import run_privacy
from floss_sim.errors import BudgetError, ConfigError
from floss_sim.methods import DifferentialPrivacy
from floss_sim.protocol.sampling import draw_cohort
from planner import Request, answer
from planner.apply import train_recommendation
from planner.candidates import grid, with_axes
from planner.execution.curve_store import CurveStore
from planner.page.again import plan_command
from planner.page.plan_page import plan_page
from planner.planning import make_plan
from planner.plans.plan import Plan
from planner.plans.plan_file import plan_of
from planner.question.cost import price
from planner.question.method_space import method_space
from planner.question.privacy import Cohorts, Privacy
from planner.report.plan_table import columns, table_rows
from planner.report.plan_text import sentences
from planner.report.privacy_text import request_privacy_notes

NOISE, EPSILON, CAP = 2.0, 6.0, 40  # of which 12 rounds spend the epsilon, and 10 are evaluated
SETTINGS = DifferentialPrivacy(clip=0.1, noise=NOISE)
COHORTS = Cohorts(50, 5, 0)


@pytest.fixture(scope="module", autouse=True)
def accountant():
    """Stand in for the library of epsilon."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_privacy, "sampled_epsilon", lambda s, q, rounds, delta: rounds / s)
        patch.setattr(
            run_privacy, "composed_epsilon", lambda made, delta: 2 * len(made) / made[0]
        )  # fmt: skip
        yield


def asked(**changes: Any) -> Request:
    """Return a request of FLoSS and FFA-LoRA, whose runs end at the epsilon."""
    settings = {
        "budget": "100-dense-rounds", "reference_rank": 4, "max_rounds": CAP, "effort": 1,
        "lr_test": False, "privacy": Privacy(SETTINGS, EPSILON),
        "candidates": with_axes(grid([4], [1.0], [1.0]), methods=["floss", "ffa"]),
    }  # fmt: skip
    return Request.of("digits", "paper-200-20", **{**settings, **changes})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path, Any]:
    """A plan, its store and its trainer."""
    store = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        training = TimedTraining(lambda now_s: 1.0, 1.0).install(patch)
        trainer = training.trainer(CurveStore(store, "cpu"))
        planned = make_plan(asked(), trainer, lambda told: None, None, training.clock)
    return planned, store, trainer


@pytest.fixture(scope="module")
def content(made: tuple[Plan, Path, Any]) -> Any:
    """The content of its file."""
    return json.loads(json.dumps(made[0].to_json()))


@pytest.mark.parametrize("trust", ["sum", "server", "local"])
def test_the_rounds_of_an_epsilon_are_those_that_counting_finds(trust: str):
    privacy = Privacy(replace(SETTINGS, trust=trust), EPSILON)
    taken: Counter[int] = Counter()
    fitting = 0
    for rounds in range(1, CAP + 1):
        taken.update(draw_cohort(0, rounds, 50, 5).clients)
        spent = 2 * max(taken.values()) / NOISE if trust == "local" else rounds / NOISE
        fitting += spent <= EPSILON
        assert privacy.spent(COHORTS, rounds).epsilon == pytest.approx(spent)
    assert privacy.most_rounds(COHORTS, CAP) == fitting > 1
    assert Privacy(SETTINGS).most_rounds(COHORTS, CAP) == CAP
    many = with_axes(grid([4], [1.0], [1.0]), cohorts=[10])
    assert asked(candidates=many).private_rounds() == {5: 12, 10: 12}  # 5: of the task


def test_without_a_noise_it_is_the_least_for_which_the_cap_keeps_to_the_epsilon():
    request = asked(privacy=Privacy(replace(SETTINGS, noise=0.0), EPSILON))
    noise = request.privacy.settings.noise
    assert CAP / noise <= EPSILON < CAP / (noise * (1 - 2e-4))
    assert request.private_rounds() == {}
    assert Request.of("digits", "lte", privacy=request.privacy, max_rounds=CAP,
                      candidates=request.candidates) .privacy == request.privacy  # fmt: skip
    (none,) = request_privacy_notes(asked(privacy=Privacy(SETTINGS, 0.1)))
    assert none.endswith("the first round of 5 clients would spend epsilon 0.5 at delta 1e-05")
    with pytest.raises(ConfigError, match="epsilon 6 needs noise"):
        Privacy(replace(SETTINGS, noise=0.0), EPSILON).check(COHORTS, CAP)
    with pytest.raises(ConfigError, match="epsilon -1; valid: numbers above 0"):
        asked(privacy=Privacy(SETTINGS, -1.0))


def test_epsilon_ends_runs_and_every_row_says_what_it_spends(made: tuple[Plan, Path, Any]):
    planned, _, _ = made
    rows = {row[0]: dict(zip(columns(planned), row, strict=False)) for row in table_rows(planned)}
    for outcome in planned.runs.values():
        assert (outcome.rounds, outcome.binds) == (10, "privacy")
        assert outcome.privacy.to_json() == {
            "epsilon": 5.0, "delta": 1e-5,
            "epsilon_of_known_cohorts": outcome.privacy.epsilon_of_known_cohorts,
        }  # fmt: skip
    assert (rows["plan"]["rounds"], rows["plan"]["epsilon"]) == ("10", "5")
    assert {cost["affordable_rounds"] for cost in planned.costs} == {12}
    assert planned.limit.private_rounds == {5: 12}
    assert planned.missing_baselines == {"thesis_rule": "not_private"}
    said = " ".join(sentences(planned))
    for told in (
        "for 10 rounds (epsilon 5 at delta 1e-05): validation accuracy",
        "Limited by privacy: further rounds would exceed epsilon 6 (--dp-epsilon)",
        "clip 0.1, noise 2 by sum",
        "Epsilon 6 allows 12 rounds of 5 clients.",
        "no figures for the thesis' rule: it is not private with trust 'sum' (--dp-trust)",
        "10 % more budget would not help",
    ):
        assert told in said
    failed = replace(planned, best_accuracy=0.1, chance=0.1)
    assert "or --dp-epsilon, lower --dp-noise, or take" in sentences(failed)[0]


def test_bytes_are_those_of_the_run_without_noise_and_curves_never_mix(
    made: tuple[Plan, Path, Any],
):
    planned, store, _ = made
    plain, private = asked(privacy=None), asked()
    best = planned.recommendation.candidate
    free, bound = price(plain), price(private)
    nbytes_R = free.predicted_traffic(best).nbytes()
    assert (nbytes_R == bound.predicted_traffic(best).nbytes()).all()
    assert (free.of[best].horizon, bound.of[best].horizon) == (CAP, 12)
    assert bound.left_out == {}
    (known,) = answer(private, store=store, device="cpu")
    assert (known.kind, known.rounds, known.privacy.epsilon) == ("measured", 10, 5.0)
    for other in (plain, asked(privacy=Privacy(replace(SETTINGS, clip=0.2), EPSILON))):
        (unknown,) = answer(replace(other, prior=None), store=store, device="cpu")
        assert (unknown.kind, unknown.privacy) == ("unknown", None)


def test_it_is_read_again_and_asked_again(made: tuple[Plan, Path, Any], content: Any):
    planned, _, _ = made
    again = plan_of(content, "plan.json")
    assert again.to_json() == planned.to_json()
    assert again.privacy == Privacy(SETTINGS, EPSILON)
    words = "--dp-clip 0.1 --dp-noise 2 --dp-trust sum --dp-delta 1e-05 --dp-epsilon 6"
    assert words in plan_command(again, Path())
    page = ReadPage(plan_page(again, Path("no-store"), Path()).html())
    assert "for 10 rounds (epsilon 5 at delta 1e-05)" in page.text
    assert "Epsilon 6 ends the run, not the budget" in page.text


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("recommendation.privacy.epsilon", 4.0, "4.0 is not 5.0, the epsilon of 10 rounds"),
        ("runners_up.0.privacy.epsilon_of_known_cohorts", None, "None is not"),
        ("baselines.dense.privacy.delta", 1e-4, "differs from request.privacy.delta"),
        ("recommendation.privacy", None, "it is missing in a plan with request.privacy"),
        ("request.privacy", None, "they need request.privacy"),
        ("request.privacy.noise", 3.0, "12 rounds are not those of epsilon 6"),
        ("request.privacy.trust", "nobody", "unknown trust 'nobody'"),
        ("request.privacy.max_epsilon", None, "they need an epsilon"),
        ("budget.private_rounds", {"5": 8}, "8 rounds are not those of epsilon 6"),
        ("budget.private_rounds", {}, "largest_round: 0.0833333 exceeds"),
        ("request.fleet", None, "it needs request.fleet.clients"),
    ],
)
def test_a_privacy_that_contradicts_the_plan_is_refused(
    place: str, value: Any, said: str, content: Any
):
    assert said in refusal(changed(place, value, content))


def test_another_seed_is_trained_with_the_same_noise(made: tuple[Plan, Path, Any]):
    planned, _, trainer = made
    applied = train_recommendation(planned, asked(), 1, trainer, lambda rounds: None)
    assert applied.config.method.privacy == SETTINGS
    assert (applied.outcome.rounds, applied.outcome.privacy.epsilon) == (10, 5.0)


def test_what_is_not_private_is_left_out_with_its_reason():
    plain = grid([4], [1.0, 1 / 4], [1.0, 1 / 4])
    space = method_space(
        load_task("digits"), plain, ["floss", "ffa", "ecolora"], privacy=Privacy(SETTINGS)
    )
    assert {c.method for c in space.candidates} == {"floss", "ffa"}
    assert {c.up_density for c in space.candidates} == {1.0}
    assert list(space.left_out) == ["ecolora"]
    assert space.misfits["floss"][0] == 2
    assert "is not private with trust 'sum'" in space.left_out["ecolora"]
    local = Privacy(replace(SETTINGS, trust="local"))
    assert method_space(load_task("digits"), plain, ["floss"], privacy=local).misfits == {}
    with pytest.raises(ConfigError, match="is not private with trust 'sum'"):
        method_space(load_task("digits"), plain, ["ecolora"], privacy=Privacy(SETTINGS))


def test_an_epsilon_that_allows_no_two_rounds_is_said():
    with pytest.raises(BudgetError, match=r"epsilon 0\.6 allows no candidate 2 rounds with"):
        price(asked(privacy=Privacy(SETTINGS, 0.6)))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--dp-epsilon", "8"], "--dp-epsilon needs --dp-clip"),
        (["--dp-noise", "1", "--dp-epsilon", "8"], "--dp-noise needs --dp-clip"),
        (["--dp-clip", "1"], "--dp-clip needs one of --dp-noise"),
        (["--dp-clip", "1", "--dp-noise", "0", "--dp-epsilon", "8"], "--dp-epsilon needs noise"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capfd
):
    code, out, err = call(monkeypatch, capfd, "floss-plan", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
