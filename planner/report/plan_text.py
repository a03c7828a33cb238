"""Sentences printed below a plan's table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from floss_sim.units import format_bytes
from planner.candidates import Candidate
from planner.decisions.recommend import HALF_BYTES_WORTH
from planner.forecasts.intervals import LEVEL
from planner.plans.outcome import CLIENT_LIMIT, EFFORT, FALL, PRIVACY, Outcome
from planner.plans.plan import Plan
from planner.report.cluster_text import cluster_sentences
from planner.report.explanation_text import chance_clause, explanation_sentences
from planner.report.method_text import method_sentences
from planner.report.objective_text import (
    better_stored_sentence,
    effort_sentence,
    ended_clause,
    left_out_sentence,
    missing_sentences,
    target_sentence,
)
from planner.report.on_test_text import (
    accuracy_clause,
    baseline_sentences,
    disagreement_sentence,
)
from planner.report.plan_table import has_ties, legend
from planner.report.privacy_text import epsilon_clause, privacy_sentences
from planner.report.rate_text import rate_sentences
from planner.report.time_text import time_sentences, time_words
from planner.report.usage_text import plan_usage_legend

_LIMITS = {
    "budget": "the budget",
    "target": "the target, which the run reaches",
    "round cap": "the cap of {cap} rounds (--max-rounds{before})",
    CLIENT_LIMIT: "the bytes of the busiest client (--max-client-bytes)",
    PRIVACY: "privacy: further rounds would exceed epsilon {epsilon:g} (--dp-epsilon)",
}

_FALL_TEXT = (
    "The run was trained further and its validation accuracy fell, by more than noise: it ends "
    "after round {rounds}, where the accuracy averaged over the last part of a run was highest"
)


def sentences(plan: Plan) -> list[str]:
    """Return the sentences printed below the plan's table."""
    effort, request, best = plan.effort, plan.request, plan.recommendation
    participations = best.rounds * best.cohort
    repeated = best.test is None or best.test.seeds > 1
    lines = [
        *_chance_sentence(plan),
        *target_sentence(plan),
        f"Train {best.candidate} for {_count_text(best.rounds, 'round')}"
        f"{epsilon_clause(best.privacy)}: validation accuracy {best.expected_accuracy:.3f}"
        f"{_interval_clause(best)}, {accuracy_clause(best.test)}.",
        f"Each of the {best.cohort} clients of a round downloads "
        f"{format_bytes(best.down_bytes / participations)} and uploads "
        f"{format_bytes(best.up_bytes / participations)}; in total "
        f"{format_bytes(best.down_bytes)} down, {format_bytes(best.up_bytes)} up, "
        f"{time_words(best)}.",
        _binding_sentence(plan),
        *privacy_sentences(plan),
        *method_sentences(plan),
        *explanation_sentences(plan),
        *better_stored_sentence(plan),
        *rate_sentences(plan),
        *_cheaper_sentences(plan),
        *time_sentences(plan),
        *baseline_sentences(plan),
        *missing_sentences(plan),
        *cluster_sentences(plan.effort),
        *disagreement_sentence(plan),
        *_ties_sentence(plan),
        legend(plan),
        *plan_usage_legend(plan),
        f"{_search_sentences(effort, request['seed'], repeated=repeated)} "
        f"{_prior_sentence(effort)}{_trained_sentence(effort)} "
        "The intervals include an estimate of seed-to-seed variation.",
    ]
    if plan.interrupted:
        lines.insert(0, "Interrupted: the best run so far. Repeat the command to continue.")
    return [
        *lines,
        *effort_sentence(plan),
        *left_out_sentence(plan),
    ]


def _prior_sentence(effort: Mapping[str, Any]) -> str:
    """Return what grids of other tasks counted in the search, and how much; empty without any."""
    if not (prior := effort.get("prior")):
        return ""
    out = prior["left_out"]
    left_out = f"; not {', '.join(out)}, whose backbone is this task's own" if out else ""
    return (
        f"Recorded grids of other tasks ({', '.join(prior['grids'])}{left_out}) guided it with the "
        f"weight {prior['weight']:.2f} (1: as much as there; 0: not at all); no accuracy rests on "
        f"them. {_favourite_clause(prior)}"
    )


def _favourite_clause(prior: Mapping[str, Any]) -> str:
    """Return what the prior alone favours, if the search has not finished it; else empty."""
    if prior["finished"]:
        return ""
    favourite = Candidate.of_settings(prior["favourite"])
    return (
        f"Of the other tasks' favourite, {favourite}, this effort has not finished the "
        f"{_count_text(prior['favourite_rounds'], 'round')} that the budget affords. "
    )


def _trained_sentence(effort: Mapping[str, Any]) -> str:
    """Return what was trained now, and what the store had; runs are unknown in older plans."""
    rounds, runs = effort["trained_now_rounds"], effort.get("runs")
    if runs is None:
        return f"{rounds} rounds were trained now, baselines included."
    now = effort["trained_now_runs"]
    return (
        f"{rounds} rounds of {_count_text(now, 'run')} were trained now, baselines included; "
        f"{_count_text(runs - now, 'run')} came whole from the store."
    )


def _search_sentences(effort: Mapping[str, Any], seed: int, *, repeated: bool) -> str:
    """Return what the search trained, why it ended before its effort, and what seeds took.

    Args:
        effort: The size of the search.
        seed: Its seed.
        repeated: Whether the recommended run has further seeds.
    """
    seed_rounds = effort.get("seed_rounds") or 0
    lines = [
        f"Search by {effort['search']} with seed {seed}: {effort['starters']} of "
        f"{effort['searched']} affordable candidates were begun, in "
        f"{effort['search_rounds'] - seed_rounds} rounds (the budget affords "
        f"{effort['grid_rounds']} for all of them)."
    ]
    unused = effort["limit_rounds"] - effort["search_rounds"]
    if effort.get("ended_early") and unused > 0:
        share = "half" if effort["search"] == "async-race" else "a quarter"
        lines.append(
            f"It ended there, with {unused} of {effort['limit_rounds']} rounds unused: the runs "
            f"that these could have finished promised less, by what was known then, than {share} "
            "of the noise of one evaluation."
        )
    if told := effort.get("decisions"):
        lines.append(
            f"Its decisions follow the order in which runs of {told['workers']} workers ended; "
            "--replay makes them again."
        )
    if others := (effort.get("seeds") or ())[1:]:
        alone = "" if repeated else "; the plan's own run did not fit again"
        lines.append(
            f"{effort['replicated']} of the best runs and the baselines had further seeds, "
            f"{' and '.join(map(str, others))}, in {_count_text(seed_rounds, 'round')}{alone}."
        )
    return " ".join(lines)


def _count_text(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def _chance_sentence(plan: Plan) -> list[str]:
    """Return the warning that no run has learned anything; empty if one has."""
    if plan.learned or plan.chance is None:
        return []
    return [
        f"Nothing was learned: the best validation accuracy, {plan.best_accuracy:.3f}, "
        f"{chance_clause(plan.chance, own=plan.measures_own)}. Raise the task's learning "
        f"rates{_limit_to_raise(plan)}{_noise_to_lower(plan)}."
    ]


def _limit_to_raise(plan: Plan) -> str:
    """Return the option that ends the best run; empty for a target."""
    limits = {
        "budget": " or --budget", "round cap": " or --max-rounds", PRIVACY: " or --dp-epsilon"
    }  # fmt: skip
    return limits.get(plan.recommendation.binds, "")


def _noise_to_lower(plan: Plan) -> str:
    """Return what makes the noise of private runs matter less; empty without noise."""
    noisy = plan.privacy and plan.privacy.settings.noise
    return ", lower --dp-noise, or take more clients a round (server.cohort)" if noisy else ""


def _interval_clause(best: Outcome) -> str:
    """Return the interval of an accuracy, and the accuracy at the last evaluation."""
    told = best.interval
    if told is None:
        return ""
    return (
        f" ({100 * LEVEL:.0f} % interval {told.low:.3f} to {told.high:.3f}; "
        f"{best.accuracy:.3f} at the last evaluation)"
    )


def _binding_sentence(plan: Plan) -> str:
    best, said = plan.recommendation, plan.explanation
    uploads = said.spent_on_uploads if said else None
    what = "" if uploads is None else f", {100 * uploads:.0f} % of that for uploads"
    used = f"{100 * best.spent:.1f} % of the budget is used{what}"
    if best.binds == EFFORT:
        return f"The run was {ended_clause(plan, best)}: {used}. {_go_on(plan)}"
    if best.binds == FALL:
        return f"{_FALL_TEXT.format(rounds=best.rounds)}: {used}."
    cap = plan.request["max_rounds"]
    before = "" if cap == best.rounds else f"; the last evaluation is after round {best.rounds}"
    epsilon = plan.privacy.max_epsilon if plan.privacy else 0.0
    limit = _LIMITS.get(best.binds, best.binds).format(cap=cap, before=before, epsilon=epsilon)
    return f"Limited by {limit}: {used}."


def _go_on(plan: Plan) -> str:
    """Return why a run that was not trained to its end is recommended, and how it goes on."""
    how = "the same command trains it on" if plan.interrupted else "a larger --effort trains it on"
    return f"As measured there it is the best choice; {how}."


def _cheaper_sentences(plan: Plan) -> list[str]:
    """Return a sentence for each cheaper way: its share of the bytes, and what it reaches.

    One more says why a way that is expected to be as good as the plan is not the plan.
    """
    lines = []
    for way in plan.cheaper:
        told, share = way.interval, way.nbytes / plan.recommendation.total_bytes
        lines.append(
            f"Cheaper, with {100 * share:.0f} % of the plan's bytes ({format_bytes(way.nbytes)}): "
            f"validation accuracy {told.mean:.3f} ({told.low:.3f} to {told.high:.3f}) by "
            f"{way.candidate}, {way.rounds} round{'s' * (way.rounds != 1)}."
        )
    least = plan.recommendation.expected_accuracy
    as_good = [way.nbytes for way in plan.cheaper if way.interval.mean >= least]
    if as_good:
        lines.append(
            "As good as the plan and cheaper is only a run before its end. Plans are chosen among "
            "runs at their ends, as chance flatters the best of many rounds. "
            f"--budget {format_bytes(max(as_good)).replace(' ', '')} plans with these bytes."
        )
    return lines


def _ties_sentence(plan: Plan) -> list[str]:
    """Return the sentence that explains the mark of a tie; empty without ties."""
    if not has_ties(plan):
        return []
    return [
        f"= within {100 * plan.margin:.1f} points of the best, {100 * plan.best_accuracy:.1f} %: "
        "at least one chance in three to be as good. Among tied runs, halving the bytes counts as "
        f"much as {100 * HALF_BYTES_WORTH:g} points of accuracy."
    ]
