"""What a plan says of itself, in sentences. A ``~`` marks a forecast."""

from __future__ import annotations

from floss_sim.units import format_duration
from floss_sim.vectors.density import format_density
from planner.forecasts.intervals import LEVEL
from planner.plans.explanation import MoreBudget, Neighbour, Range, RoundTime, StopRule
from planner.plans.plan import Plan

_WORDS = {
    "rank": "rank", "down_density": "down", "up_density": "up", "cohort_size": "cohort",
    "epochs": "epochs", "values": "", "method": "",
}  # fmt: skip
_PARTS = ("download", "upload", "latency", "compute", "queueing")


def explanation_sentences(plan: Plan) -> list[str]:
    """Return the sentences of a plan's explanation; none where it has none."""
    said = plan.explanation
    if said is None:
        return []
    best = plan.recommendation.expected_accuracy
    lines = [_time_sentence(said.time)]
    if said.neighbours:
        near = "; ".join(_neighbour_text(one, best) for one in said.neighbours)
        lines.append(f"One step away, in points of validation accuracy: {near}.")
    if said.tenth:
        lines.append(_tenth_sentence(said.tenth))
    if said.stop:
        lines.append(_stop_sentence(said.stop))
    if any(one.interval for one in said.neighbours) or (said.tenth and said.tenth.accuracy):
        lines.append(f"~ is a forecast, with its {100 * LEVEL:.0f} % interval.")
    return lines


def interval_text(range_: Range) -> str:
    """Return an interval in words, such as ``"(0.912 to 0.934)"``."""
    return f"({range_.low:.3f} to {range_.high:.3f})"


def _time_sentence(time: RoundTime) -> str:
    shares = {name: getattr(time, name) for name in _PARTS}
    large = sorted((n for n in _PARTS if shares[n] >= 0.005), key=lambda n: -shares[n])
    parts = ", ".join(f"{100 * shares[name]:.0f} % {name}" for name in large)
    waits = f"; a client waits {100 * time.waiting:.0f} % of it for others"
    return (
        f"A round takes {format_duration(time.round_s)}: {parts}"
        f"{waits if time.waiting >= 0.005 else ''}."
    )


def _neighbour_text(one: Neighbour, best: float) -> str:
    value = getattr(one.candidate, one.axis)
    said = format_density(value) if one.axis.endswith("density") else value
    name = f"{_WORDS[one.axis]} {said}".strip()
    if one.accuracy is None:
        return f"{name} unknown"
    points = f"{100 * (one.accuracy - best):+.1f}"
    if one.interval is None:
        return f"{name} {points}"
    low, high = (100 * (end - best) for end in (one.interval.low, one.interval.high))
    return f"{name} ~{points} ({low:+.1f} to {high:+.1f})"


def _tenth_sentence(more: MoreBudget) -> str:
    if more.accuracy is None:
        return f"A tenth more budget would not change that: {more.rounds} rounds are the most."
    made = more.accuracy
    return (
        f"A tenth more budget affords {more.rounds} rounds: ~{made.mean:.3f} {interval_text(made)}."
    )


def _stop_sentence(stop: StopRule) -> str:
    gain, noise = f"{100 * stop.gain:.1f} points", f"{100 * stop.noise:.1f} points"
    said = (
        f"below the noise of one evaluation ({noise}): not worth it"
        if stop.is_reached
        else f"the noise of one evaluation is {noise}: it may be worth it"
    )
    return (
        f"More search: finishing {stop.candidate} ({stop.rounds} rounds more) is expected to gain "
        f"{gain}, {said} (stop rule after Makarova et al., AutoML 2022)."
    )
