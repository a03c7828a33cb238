"""First screen of a plan's page, for whoever decides: answer, warnings, picture, alternatives."""

from __future__ import annotations

import math

from floss_sim.methods import WAYS
from floss_sim.network import NetworkProfile
from floss_sim.page import texts
from floss_sim.page.parts import Html, element, figure, joined, paragraphs, table
from floss_sim.units import format_bytes, format_duration, format_energy, format_money
from planner.page.shown_runs import (
    CHART,
    Known,
    percent,
    percents,
    ranged,
    rounds_text,
    run_text,
    share_text,
    shown_runs,
    spoken,
    title,
    way_label,
)
from planner.plans.cheaper_way import CheaperWay
from planner.plans.method_result import MethodGap, MethodResult
from planner.plans.outcome import EFFORT, PRIVACY, Outcome
from planner.plans.plan import Plan
from planner.report.method_text import method_sentences
from planner.report.privacy_text import epsilon_clause, epsilon_text, privacy_sentences
from planner.report.time_text import median_s


def first_screen(plan: Plan, profile: NetworkProfile | None, known: Known) -> Html:
    """Return the first screen of a plan.

    Args:
        plan: The plan.
        profile: Its network; None if it cannot be loaded.
        known: What the store knows of the shown runs.
    """
    told = plan_warnings(plan, profile)
    caption = texts.ACCURACY_CAPTION.format(bands=texts.BANDS if known.bands else "")
    return joined(
        [
            element("h1", title(plan), dir="auto"),
            element("p", answer(plan), class_="answer", dir="auto"),
            paragraphs([" ".join(told)] if told else [], class_="warning"),
            paragraphs([] if told else [texts.NO_WARNING], class_="note"),
            figure(CHART, caption, spoken(plan)),
            _alternatives(plan, known),
            *([_methods(plan)] if plan.methods else []),
        ]
    )


def answer(plan: Plan) -> str:
    """Return the recommendation in plain words: what, how good, how long, at which cost."""
    best = plan.recommendation
    candidate = best.candidate
    down, up = share_text(candidate.down_density), share_text(candidate.up_density)
    all_sent = candidate.down_density == candidate.up_density == 1
    sends = texts.SENDS_ALL if all_sent else texts.SENDS.format(down=down, up=up)
    other = candidate.other_settings and texts.OTHER.format(other=candidate.other_settings)
    part = None if candidate.has_rank else texts.TRAINED[candidate.as_method().trains]
    what = part or texts.ADAPTER.format(rank=candidate.rank)
    train = texts.ANSWER_TRAIN.format(
        what=what, rounds=rounds_text(best.rounds),
        other=other + epsilon_clause(best.privacy), sends=sends,
    )  # fmt: skip
    spent = texts.ANSWER_BUDGET.format(budget=_budget_text(plan), spent=f"{100 * best.spent:.0f}")
    lines = [train, _good_text(plan), _cost_text(best), spent]
    if plan.reached and plan.target is not None:
        lines.append(texts.ANSWER_REACHED.format(target=percent(plan.target)))
    if plan.measures_own:
        lines.append(f"Every accuracy is an own accuracy: {plan.measure_text}.")
    lines += privacy_sentences(plan)
    return " ".join(lines if plan.learned else [texts.ANSWER_NOTHING, *lines])


def _budget_text(plan: Plan) -> str:
    budget = plan.limit.budget
    if budget.kind != "dense-rounds":
        return plan.limit.describe()
    return texts.BUDGET_DENSE.format(count=f"{budget.amount:.0f}")


def _good_text(plan: Plan) -> str:
    best = plan.recommendation
    if best.test:
        what = plan.request["judged"]["what"]
        return texts.ANSWER_GOOD.format(what=what, **percents(best.test))
    if best.interval:
        return texts.ANSWER_VALID.format(**percents(best.interval))
    return texts.ANSWER_POINT.format(mean=percent(best.accuracy))


def _cost_text(best: Outcome) -> str:
    """Return time with its interval, bytes, money and energy in words."""
    time, usage, spread = best.time, best.usage, ""
    if time and time.draws > 1:
        ends = (format_duration(time.low_s), format_duration(time.high_s))
        spread = texts.SPREAD_WORDS.format(low=ends[0], high=ends[1])
    known = [said for said in (_money(best), _energy(best)) if said]
    unknown = ""
    if not known:
        unknown = texts.COSTS_UNKNOWN
    elif len(known) == 1:
        unknown = texts.ENERGY_UNKNOWN if usage and usage.money is not None else texts.MONEY_UNKNOWN
    costs = texts.COSTS_KNOWN.format(costs=" and ".join(known)) if known else ""
    return (
        texts.ANSWER_COST.format(
            time=format_duration(median_s(best)),
            spread=spread,
            nbytes=format_bytes(best.total_bytes),
            costs=costs,
        )
        + unknown
    )


def _money(outcome: Outcome) -> str:
    usage = outcome.usage
    if usage is None or usage.money is None or usage.currency is None:
        return ""
    return format_money(usage.money, usage.currency)


def _energy(outcome: Outcome) -> str:
    usage = outcome.usage
    return "" if usage is None or usage.energy_j is None else format_energy(usage.energy_j)


def plan_warnings(plan: Plan, profile: NetworkProfile | None) -> list[str]:
    """Return what stands against a plan, in plain words.

    Args:
        plan: The plan.
        profile: Its network; None if it cannot be loaded.
    """
    best, found = plan.recommendation, []
    if plan.interrupted:
        found.append(texts.WARN_INTERRUPTED)
    if not plan.learned and plan.chance is not None:
        warning = texts.WARN_CHANCE_OWN if plan.measures_own else texts.WARN_CHANCE
        ends = {"best": percent(plan.best_accuracy), "chance": percent(plan.chance)}
        found.append(warning.format(**ends))
    if plan.reached is False and plan.target is not None:
        found.append(texts.WARN_TARGET.format(target=percent(plan.target)))
    if best.binds == "round cap":
        cap, spent = plan.request["max_rounds"], f"{100 * best.spent:.0f}"
        found.append(texts.WARN_CAP.format(cap=cap, spent=spent))
    if best.binds == PRIVACY and plan.privacy:
        epsilon, spent = f"{plan.privacy.max_epsilon:g}", f"{100 * best.spent:.0f}"
        found.append(texts.WARN_PRIVACY.format(epsilon=epsilon, spent=spent))
    if best.binds == EFFORT:
        found.append(texts.WARN_EFFORT)
    if plan.traffic_alone:
        found.append(texts.WARN_ALONE)
    if profile and any(math.isfinite(profile.alone_bits_per_s(way)) for way in WAYS):
        found.append(texts.WARN_SHARED)
    lacks = (texts.BASELINES[name] for name in plan.missing_baselines)
    return [*found, *(texts.WARN_MISSING.format(name=name) for name in lacks)]


def _alternatives(plan: Plan, known: Known) -> Html:
    """Return the table of alternatives; columns that nothing is known of are left out."""
    what = plan.request["judged"]["what"]
    rows = [_row(label, outcome) for label, outcome in shown_runs(plan).items()]
    rows += [_cheaper_row(plan, way, known) for way in plan.cheaper]
    columns = [name.format(what=what) for name in texts.ALTERNATIVE_COLUMNS]
    kept = [k for k in range(len(columns)) if any(row[k] != texts.NOT_THERE for row in rows)]
    return joined(
        [
            table(
                texts.ALTERNATIVES,
                [columns[k] for k in kept],
                [[row[k] for k in kept] for row in rows],
            ),
            paragraphs([texts.TABLE_NOTE.format(what=what)], class_="note"),
        ]
    )


def _methods(plan: Plan) -> Html:
    """Return the table of the methods that were asked for, and what it says in a sentence."""
    gaps = {gap.method: gap for gap in plan.method_gaps}
    rows = [_method_row(one, gaps.get(one.method)) for one in plan.methods]
    made = table(texts.METHODS, texts.METHOD_COLUMNS, rows)
    return joined([made, paragraphs(method_sentences(plan))])


def _method_row(one: MethodResult, gap: MethodGap | None) -> list[str]:
    tried, run = texts.TRIED.format(begun=one.begun, affordable=one.affordable), one.run
    if run is None:
        return [one.method, tried, *[texts.NOT_THERE] * (len(texts.METHOD_COLUMNS) - 2)]
    what = run_text(run.candidate, run.rounds)
    far = ""
    if gap:
        ends = {end: f"{100 * getattr(gap, end):+.1f}" for end in ("low", "mean", "high")}
        far = texts.POINTS.format(**ends)
        far = texts.AS_GOOD.format(points=far) if gap.ties else far
    return [
        one.method,
        tried,
        what if run.counts else texts.ENDED_RUN.format(what=what),
        ranged(run.interval),
        far,
        format_bytes(run.nbytes),
        f"{100 * run.spent:.0f} %",
    ]


def _row(label: str, outcome: Outcome) -> list[str]:
    told = outcome.interval
    return [
        label,
        run_text(outcome.candidate, outcome.rounds)
        + (f", epsilon {epsilon_text(outcome.privacy)}" if outcome.privacy else ""),
        ranged(told) if told else f"{percent(outcome.accuracy)} %",
        ranged(outcome.test) if outcome.test else texts.NOT_THERE,
        format_duration(median_s(outcome)),
        format_bytes(outcome.total_bytes),
        _money(outcome) or texts.NOT_THERE,
        _energy(outcome) or texts.NOT_THERE,
        f"{100 * outcome.spent:.0f} %",
    ]


def _cheaper_row(plan: Plan, way: CheaperWay, known: Known) -> list[str]:
    what = run_text(way.candidate, way.rounds)
    time, spent, none = texts.NOT_THERE, texts.NOT_THERE, texts.NOT_THERE
    if costs := known.ways.get((way.candidate, way.rounds)):
        time, spent = format_duration(costs[1].median_s), f"{100 * costs[0]:.0f} %"
    nbytes = format_bytes(way.nbytes)
    label, right = way_label(plan, way), ranged(way.interval)
    return [label, what, right, none, time, nbytes, none, none, spent]
