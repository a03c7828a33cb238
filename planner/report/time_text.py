"""Simulated times of a plan as table rows and sentences: medians over fleets, with intervals."""

from __future__ import annotations

from collections.abc import Sequence

from floss_sim.analysis.time_spread import MEDIAN, PROBED_LEGEND, TimeSpread, traffic_alone_note
from floss_sim.units import common_unit, format_duration
from planner.plans.elsewhere import PLAN
from planner.plans.outcome import Outcome
from planner.plans.plan import Plan
from planner.report.plan_table import BASELINE_TITLES, SHORT_TITLES, runners_up

TIME_TITLE = "Simulated time"
INTERVAL_COLUMN = "5-95 %"
_FLEETS = "fleets that the network may draw, with the same clients in each round"


def time_columns(plan: Plan) -> tuple[str, ...]:
    """Return the columns of the table of times; two are left out if the network draws nothing."""
    drawn = (INTERVAL_COLUMN, "slower") if is_drawn(plan) else ()
    return ("", "time", *drawn, *(times.network for times in plan.elsewhere))


def time_rows(plan: Plan) -> list[tuple[str, ...]]:
    """Return the rows of the table of times, with cells as in ``time_columns``.

    A column has one unit if possible, and so have a time and its interval.
    """
    shown = [("plan", PLAN, plan.recommendation)]
    shown += [(f"#{i}", "", o) for i, o in enumerate(runners_up(plan), start=2)]
    shown += [(t, name, o) for name, t in SHORT_TITLES.items() if (o := plan.baselines[name])]
    outcomes = [outcome for _, _, outcome in shown]
    unit = common_unit(s for outcome in outcomes for s in _shown_seconds(outcome))
    there = [_cells([times.times.get(key) for _, key, _ in shown]) for times in plan.elsewhere]
    return [
        (title, median_text(outcome, unit), *_drawn_cells(plan, outcome, unit), *cells)
        for (title, _, outcome), *cells in zip(shown, *there, strict=True)
    ]


def _shown_seconds(outcome: Outcome) -> tuple[float, ...]:
    time = outcome.time
    return (median_s(outcome), *((time.low_s, time.high_s) if time and time.draws > 1 else ()))


def _drawn_cells(plan: Plan, outcome: Outcome, unit: str | None) -> tuple[str, ...]:
    """Return the cells of the interval and of the slower fleets; none if nothing is drawn."""
    if not is_drawn(plan):
        return ()
    faster = plan.faster_than(outcome)
    return (_interval_cell(outcome, unit), "" if faster is None else f"{100 * faster:.0f} %")


def is_drawn(plan: Plan) -> bool:
    """Return whether the plan's network draws its fleets, so that times have an interval."""
    made = plan.recommendation.time
    return made is not None and made.draws > 1


def median_clause(plan: Plan) -> str:
    """Return that a budget of seconds is one of the median; empty for others, and without draws."""
    budget = plan.limit.budget
    is_median = budget.kind == "seconds" and budget.confidence == MEDIAN
    return " in the median of fleets" if is_median and is_drawn(plan) else ""


def median_s(outcome: Outcome) -> float:
    """Return the median of a run's simulated seconds over fleets, or those of its own fleet."""
    return outcome.time.median_s if outcome.time else outcome.own_fleet_s


def median_text(outcome: Outcome, unit: str | None = None) -> str:
    """Return the median of a run's simulated time as text, with a mark if fleets were probed."""
    return _mark(outcome.time) + format_duration(median_s(outcome), unit)


def _mark(time: TimeSpread | None) -> str:
    return "≈" if time and time.method == "probed" else ""


def _cells(column: Sequence[TimeSpread | None]) -> list[str]:
    """Return the medians of a column, with marks."""
    unit = common_unit(time.median_s for time in column if time)
    return [_mark(t) + format_duration(t.median_s, unit) if t else "" for t in column]


def time_words(outcome: Outcome) -> str:
    """Return a run's simulated time in words, with its interval if there is one."""
    told, time = f"{median_text(outcome)} of simulated time", outcome.time
    if time is None or time.draws == 1:
        return told
    low, high = format_duration(time.low_s), format_duration(time.high_s)
    return f"{told} in the median of fleets (5 to 95 %: {low} to {high})"


def _interval_cell(outcome: Outcome, unit: str | None) -> str:
    """Return an interval with a dash, such as ``12-20 s`` or ``12 s-3.7 min``."""
    if outcome.time is None:
        return ""
    ends = (outcome.time.low_s, outcome.time.high_s)
    low, high = (format_duration(seconds, unit) for seconds in ends)
    number, of = low.split(" ")
    return f"{number if high.endswith(f' {of}') else low}-{high}"


def time_sentences(plan: Plan) -> list[str]:
    """Return the sentences on times: their fleets, comparisons on these, and other networks."""
    return [
        *_fleets_sentences(plan),
        *_faster_sentence(plan),
        *_budget_sentence(plan),
        *straggler_sentences(plan),
        *traffic_sentence(plan),
    ]


def _fleets_sentences(plan: Plan) -> list[str]:
    """Return what the times are over: fleets of the plan's network, and of the other ones."""
    network, made = plan.request["network"], plan.recommendation.time
    others = [time for times in plan.elsewhere for time in times.times.values()]
    fleets = max((time.draws for time in others), default=1)
    if made is None:
        return []
    if made.draws > 1:
        lines = [
            f"Times are medians over {made.draws} {_FLEETS}. {INTERVAL_COLUMN} holds nine in "
            "ten of them; slower: the share of them on which a run takes longer than the plan."
        ]
    else:
        others_text = f"; those on other networks are medians over {fleets} fleets drawn by seed"
        same = f"{network} is the same for every seed, so that its times have no interval"
        lines = [f"{same}{others_text if fleets > 1 else ''}."]
    return [*lines, f"{PROBED_LEGEND}."] if "≈" in _marks(plan) else lines


def _marks(plan: Plan) -> str:
    """Return the marks of all shown times."""
    shown = [plan.recommendation, *plan.runners_up, *filter(None, plan.baselines.values())]
    here = [outcome.time for outcome in shown]
    there = [time for times in plan.elsewhere for time in times.times.values()]
    return "".join(_mark(time) for time in (*here, *there))


def _faster_sentence(plan: Plan) -> list[str]:
    """Return on how many fleets the plan is faster than baselines; empty if nothing is drawn."""
    told = []
    for name, title in BASELINE_TITLES.items():
        outcome = plan.baselines[name]
        faster = plan.faster_than(outcome) if outcome else None
        if faster is not None:
            told.append(f"than {title} on {100 * faster:.0f} %")
    return (
        [f"The plan is faster {' and '.join(told)} of fleets."] if told and is_drawn(plan) else []
    )


def _budget_sentence(plan: Plan) -> list[str]:
    """Return what a budget of seconds says of other fleets; empty for other budgets."""
    budget, share = plan.limit.budget, plan.in_time
    if share is None or not is_drawn(plan):
        return []
    done = f"the plan ends within {format_duration(plan.limit.amount)} on {100 * share:.0f} %"
    if budget.confidence == MEDIAN:
        longer = f"{budget.text.partition('@')[0]}@95% plans for 95 % of them"
        return [f"The budget is planned for the median of fleets: {done} of these; {longer}."]
    return [
        f"The budget is planned for {100 * budget.confidence:.4g} % of fleets: {done} of these."
    ]


def straggler_sentences(plan: Plan) -> list[str]:
    """Return the slow fleets, the client that decides the time, and what would remove it."""
    slow = plan.slow_fleets
    lines = [f"{slow.text[0].upper()}{slow.text[1:]}."] if slow else []
    if plan.straggler is None:
        return lines
    decides, *removed = plan.straggler.sentences()
    where = "On the fleet of the network's seed, " if is_drawn(plan) else ""
    told = where + decides if where else decides[0].upper() + decides[1:]
    return [*lines, f"{told}.", *(f"In floss-sim run it is {said}." for said in removed)]


def traffic_sentence(plan: Plan) -> list[str]:
    """Return that seconds are those of traffic alone, where they are."""
    return [f"{traffic_alone_note(plan.request['network'])}."] if plan.traffic_alone else []
