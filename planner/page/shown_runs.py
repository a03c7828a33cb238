"""Runs of a plan's first screen: their names in plain words, and their picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from floss_sim.analysis.time_spread import TimeSpread
from floss_sim.page import texts
from floss_sim.page.charts import accuracy_chart
from floss_sim.vectors.density import format_density
from planner.candidates import Candidate
from planner.forecasts.intervals import Interval
from planner.plans.cheaper_way import CheaperWay
from planner.plans.outcome import Outcome
from planner.plans.plan import Plan
from planner.report.plan_table import runners_up

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
    rank = texts.RANK.format(rank=candidate.rank) if candidate.has_rank else ""
    made = rank + texts.WHAT.format(down=down, up=up)
    return f"{made}, {candidate.other_settings}" if candidate.other_settings else made


def rounds_text(rounds: int) -> str:
    """Return a number of rounds in words, such as ``60 rounds``."""
    return texts.ONE_ROUND if rounds == 1 else texts.SOME_ROUNDS.format(rounds=rounds)


def run_text(candidate: Candidate, rounds: int) -> str:
    """Return a candidate and its rounds in plain words."""
    return texts.ROUNDS.format(what=what_text(candidate), rounds=rounds_text(rounds))


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
            return label_text(name, candidate)
    return None


def way_label(plan: Plan, way: CheaperWay) -> str:
    """Return the label of a cheaper way: its share of the plan's bytes."""
    share = f"{100 * way.nbytes / plan.recommendation.total_bytes:.0f} %"
    return texts.CHEAPER.format(share=share)


def ranged(told: Any) -> str:
    """Return the mean of an interval in percent, with its ends."""
    ends = percents(told)
    return f"{ends['mean']} % ({ends['low']} to {ends['high']})"


def percents(told: Any) -> dict[str, str]:
    """Return the low, mean and high of an interval in percent."""
    return {name: percent(getattr(told, name)) for name in ("low", "mean", "high")}


def percent(share: float) -> str:
    """Return a share, 0 to 1, in percent."""
    return f"{100 * share:.1f}"


def accuracy_picture(plan: Plan, known: Known) -> dict[str, Any]:
    """Return the picture of the first screen: accuracy against the share of the budget.

    Args:
        plan: The plan.
        known: What the store knows of the shown runs; without it, cheaper ways are left out.
    """
    runs = shown_runs(plan)
    rows = [row for label, run in runs.items() for row in _curve_rows(label, run, known.bands)]
    labels = [label_text(name, run.candidate) for name, run in runs.items()]
    ways = [way for way in plan.cheaper if (way.candidate, way.rounds) in known.ways]
    for way in ways:
        spent, _ = known.ways[way.candidate, way.rounds]
        label = label_text(way_label(plan, way), way.candidate)
        rows.append({"label": label, "x": 100 * spent, **_end_values(label, way.interval)})
        labels.append(label)
    return accuracy_chart(rows, labels, texts.SPENT_AXIS, texts.RIGHT_AXIS, spoken(plan))


def label_text(name: str, candidate: Candidate) -> str:
    """Return a run's name with its candidate in plain words."""
    return f"{name}: {what_text(candidate)}"


def _curve_rows(name: str, run: Outcome, bands: Bands) -> Iterator[dict[str, Any]]:
    """Yield a row for each evaluated round; the last one is the end, with its interval."""
    label, known = label_text(name, run.candidate), dict(bands.get(run.candidate, ()))
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
    return {**percents, "end": True, "tip": f"{label}, {ranged(ends)}"}


def spoken(plan: Plan) -> str:
    """Return the text alternative of the picture: the end of each line."""
    told = []
    for name, run in shown_runs(plan).items():
        known = run.interval
        words = percents(known) if known else {"mean": percent(run.accuracy)}
        form = texts.ACCURACY_END if known else texts.ACCURACY_POINT
        label = label_text(name, run.candidate)
        told.append(form.format(label=label, spent=f"{100 * run.spent:.0f}", **words))
    return texts.ACCURACY_SPOKEN.format(ends=" ".join(told))
