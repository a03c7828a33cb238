"""First screen of a plan's page, for whoever decides: answer, warnings, picture, alternatives."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from floss_sim.analysis.time_spread import TimeSpread
from floss_sim.methods import WAYS
from floss_sim.network import NetworkProfile
from floss_sim.page import texts
from floss_sim.page.charts import accuracy_chart
from floss_sim.page.parts import Html, element, figure, joined, paragraphs, table
from floss_sim.units import format_bytes, format_duration, format_energy, format_money
from floss_sim.vectors.density import format_density
from planner.candidates import Candidate
from planner.forecasts.intervals import Interval
from planner.plans.cheaper_way import CheaperWay
from planner.plans.outcome import EFFORT, Outcome
from planner.plans.plan import Plan
from planner.report.plan_table import runners_up
from planner.report.time_text import median_s

CHART = "accuracy"
Bands = Mapping[Candidate, Sequence[tuple[int, Interval]]]  # by evaluated round
Ways = Mapping[tuple[Candidate, int], tuple[float, TimeSpread]]  # spent fraction, and time
_MOST_RUNNERS_UP = 3


@dataclass(frozen=True)
class Known:
    """What the store knows of the runs of a first screen; nothing without it.

    Attributes:
        bands: Intervals at evaluated rounds.
        ways: Spent fraction of the budget, and time, of cheaper ways.
    """

    bands: Bands = field(default_factory=dict)
    ways: Ways = field(default_factory=dict)


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
            figure(CHART, caption, _spoken(plan)),
            _alternatives(plan, known),
        ]
    )


def title(plan: Plan) -> str:
    """Return the title of a plan's page."""
    asked = plan.request
    return texts.PLAN_TITLE.format(task=asked["task"], network=asked["network"])


def share_text(density: float) -> str:
    """Return a density in words: ``all``, a fraction such as ``1/4``, or per cent."""
    if density == 1:
        return texts.ALL
    said = format_density(density)
    return said if said.startswith("1/") else f"{100 * density:.3g} %"


def what_text(candidate: Candidate) -> str:
    """Return a candidate in plain words, such as ``rank 16, 1/4 down, 1/4 up``."""
    down, up = share_text(candidate.down_density), share_text(candidate.up_density)
    made = texts.WHAT.format(rank=candidate.rank, down=down, up=up)
    return f"{made}, {candidate.other_settings}" if candidate.other_settings else made


def answer(plan: Plan) -> str:
    """Return the recommendation in plain words: what, how good, how long, at which cost."""
    best = plan.recommendation
    candidate = best.candidate
    down, up = share_text(candidate.down_density), share_text(candidate.up_density)
    all_sent = candidate.down_density == candidate.up_density == 1
    sends = texts.SENDS_ALL if all_sent else texts.SENDS.format(down=down, up=up)
    other = candidate.other_settings and texts.OTHER.format(other=candidate.other_settings)
    train = texts.ANSWER_TRAIN.format(
        rank=candidate.rank, rounds=best.rounds, other=other, sends=sends
    )
    spent = texts.ANSWER_BUDGET.format(budget=_budget_text(plan), spent=f"{100 * best.spent:.0f}")
    lines = [train, _good_text(plan), _cost_text(best), spent]
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
        return texts.ANSWER_GOOD.format(what=what, **_percents(best.test))
    if best.interval:
        return texts.ANSWER_VALID.format(**_percents(best.interval))
    return texts.ANSWER_POINT.format(mean=_percent(best.accuracy))


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
        ends = {"best": _percent(plan.best_accuracy), "chance": _percent(plan.chance)}
        found.append(texts.WARN_CHANCE.format(**ends))
    if plan.reached is False and plan.target is not None:
        found.append(texts.WARN_TARGET.format(target=_percent(plan.target)))
    if best.binds == "round cap":
        cap, spent = plan.request["max_rounds"], f"{100 * best.spent:.0f}"
        found.append(texts.WARN_CAP.format(cap=cap, spent=spent))
    if best.binds == EFFORT:
        found.append(texts.WARN_EFFORT)
    if plan.traffic_alone:
        found.append(texts.WARN_ALONE)
    if profile and any(math.isfinite(profile.alone_bits_per_s(way)) for way in WAYS):
        found.append(texts.WARN_SHARED)
    lacks = (texts.BASELINES[name] for name in plan.missing_baselines)
    return [*found, *(texts.WARN_MISSING.format(name=name) for name in lacks)]


def shown_runs(plan: Plan) -> dict[str, Outcome]:
    """Return the runs of the first screen by label: the recommendation, baselines, next best."""
    runs = {texts.RECOMMENDED: plan.recommendation}
    named = ((texts.BASELINES[name], plan.baselines.get(name)) for name in texts.BASELINES)
    runs |= {label: outcome for label, outcome in named if outcome}
    others = runners_up(plan)[:_MOST_RUNNERS_UP]
    many = len(others) > 1
    return runs | {
        f"{texts.RUNNER_UP} {k}" if many else texts.RUNNER_UP: outcome
        for k, outcome in enumerate(others, start=1)
    }


def label_of(plan: Plan, candidate: Candidate) -> str | None:
    """Return the label of a run of the first screen; None for other candidates."""
    for name, run in shown_runs(plan).items():
        if run.candidate == candidate:
            return _label(name, candidate)
    return None


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


def _row(label: str, outcome: Outcome) -> list[str]:
    told = outcome.interval
    return [
        label,
        texts.ROUNDS.format(what=what_text(outcome.candidate), rounds=outcome.rounds),
        _ranged(told) if told else f"{_percent(outcome.accuracy)} %",
        _ranged(outcome.test) if outcome.test else texts.NOT_THERE,
        format_duration(median_s(outcome)),
        format_bytes(outcome.total_bytes),
        _money(outcome) or texts.NOT_THERE,
        _energy(outcome) or texts.NOT_THERE,
        f"{100 * outcome.spent:.0f} %",
    ]


def _cheaper_row(plan: Plan, way: CheaperWay, known: Known) -> list[str]:
    what = texts.ROUNDS.format(what=what_text(way.candidate), rounds=way.rounds)
    time, spent, none = texts.NOT_THERE, texts.NOT_THERE, texts.NOT_THERE
    if costs := known.ways.get((way.candidate, way.rounds)):
        time, spent = format_duration(costs[1].median_s), f"{100 * costs[0]:.0f} %"
    nbytes = format_bytes(way.nbytes)
    label, right = _way_label(plan, way), _ranged(way.interval)
    return [label, what, right, none, time, nbytes, none, none, spent]


def _way_label(plan: Plan, way: CheaperWay) -> str:
    share = f"{100 * way.nbytes / plan.recommendation.total_bytes:.0f} %"
    return texts.CHEAPER.format(share=share)


def _ranged(told: Any) -> str:
    ends = _percents(told)
    return f"{ends['mean']} % ({ends['low']} to {ends['high']})"


def _percents(told: Any) -> dict[str, str]:
    return {name: _percent(getattr(told, name)) for name in ("low", "mean", "high")}


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def accuracy_picture(plan: Plan, known: Known) -> dict[str, Any]:
    """Return the picture of the first screen: accuracy against the share of the budget.

    Args:
        plan: The plan.
        known: What the store knows of the shown runs; without it, cheaper ways are left out.
    """
    runs = shown_runs(plan)
    rows = [row for label, run in runs.items() for row in _curve_rows(label, run, known.bands)]
    labels = [_label(name, run.candidate) for name, run in runs.items()]
    ways = [way for way in plan.cheaper if (way.candidate, way.rounds) in known.ways]
    for way in ways:
        spent, _ = known.ways[way.candidate, way.rounds]
        label = _label(_way_label(plan, way), way.candidate)
        rows.append({"label": label, "x": 100 * spent, **_end_values(label, way.interval)})
        labels.append(label)
    return accuracy_chart(rows, labels, texts.SPENT_AXIS, texts.RIGHT_AXIS, _spoken(plan))


def _label(name: str, candidate: Candidate) -> str:
    return f"{name}: {what_text(candidate)}"


def _curve_rows(name: str, run: Outcome, bands: Bands) -> Iterator[dict[str, Any]]:
    """Yield a row for each evaluated round; the last one is the end, with its interval."""
    label, known = _label(name, run.candidate), dict(bands.get(run.candidate, ()))
    for number, spent, accuracy in run.curve:
        band = known.get(number)
        row = {"label": label, "x": 100 * spent, "y": 100 * (band.mean if band else accuracy)}
        if band:
            row |= {"low": 100 * band.low, "high": 100 * band.high}
        if number == run.rounds and run.interval:
            row |= _end_values(label, run.interval)
        yield row


def _end_values(label: str, ends: Interval) -> dict[str, Any]:
    """Return the values of an end: expected accuracy and interval in percent, and a text."""
    percents = {"low": 100 * ends.low, "y": 100 * ends.mean, "high": 100 * ends.high}
    return {**percents, "end": True, "tip": f"{label}, {_ranged(ends)}"}


def _spoken(plan: Plan) -> str:
    """Return the text alternative of the picture: the end of each line."""
    told = []
    for name, run in shown_runs(plan).items():
        known = run.interval
        words = _percents(known) if known else {"mean": _percent(run.accuracy)}
        form = texts.ACCURACY_END if known else texts.ACCURACY_POINT
        label = _label(name, run.candidate)
        told.append(form.format(label=label, spent=f"{100 * run.spent:.0f}", **words))
    return texts.ACCURACY_SPOKEN.format(ends=" ".join(told))
