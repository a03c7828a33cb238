"""Sections of a plan's page for engineers: curves, front, stragglers, sizes, the search's story."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from floss_sim.analysis.round_times import Clock
from floss_sim.analysis.traffic import Floats
from floss_sim.analysis.traffic_costs import TrafficCosts
from floss_sim.network import NetworkProfile
from floss_sim.page import texts
from floss_sim.page.charts import curves_chart
from floss_sim.page.message_sizes import size_cells
from floss_sim.page.parts import Html, element, figure, joined, paragraphs, section, table
from floss_sim.units import format_bytes, format_duration, format_money
from planner.candidates import Candidate
from planner.forecasts.intervals import Interval
from planner.page.plan_what_if import PlanWhatIf
from planner.page.shown_runs import run_text, shown_runs, what_text
from planner.plans.plan import Plan
from planner.report.method_text import METHOD_COLUMNS, method_rows
from planner.report.objective_text import FRONT_COLUMNS, front_rows, front_title
from planner.report.plan_table import columns, table_rows
from planner.report.plan_text import sentences
from planner.report.time_text import straggler_sentences, time_columns, time_rows
from planner.report.usage_text import USAGE_COLUMNS, usage_rows

CURVES = "curves"
_MOST_POINTS = 60  # of a drawn line
_MOST_STEPS = 15  # rows of the front


@dataclass(frozen=True)
class RunCosts:
    """What a stored run of a plan has taken after each round (R); None where it is unknown."""

    nbytes: Floats
    seconds: Floats | None
    money: Floats | None


@dataclass(frozen=True)
class EngineersPart:
    """The engineer's part of a plan's page.

    Attributes:
        plan: The plan.
        profile: Its network; None if it cannot be loaded.
        what_if: Its stored runs; None if the store lacks them.
    """

    plan: Plan
    profile: NetworkProfile | None
    what_if: PlanWhatIf | None

    def html(self) -> Html:
        """Return its sections."""
        parts = [self._curves(), self._front()] if self.what_if else []
        return joined([*parts, self._stragglers(), self._sizes(), self._search(), self._said()])

    def charts(self) -> dict[str, Any]:
        """Return its pictures by name."""
        if self.what_if is None:
            return {}
        axes = [axis for axis in texts.CURVE_AXES if axis in self._known_axes]
        spoken = texts.CURVES_SPOKEN.format(count=len(self.what_if.intervals))
        rows = list(self._curve_rows())
        return {CURVES: curves_chart(rows, axes, texts.RIGHT_AXIS, spoken)}

    @cached_property
    def _costs(self) -> dict[Candidate, RunCosts]:
        """Bytes, seconds and money of the stored runs on the fleet of the network's seed."""
        if self.what_if is None or self.profile is None:
            return {}
        costs = TrafficCosts(self.profile, self.what_if.clients)
        clock = Clock(self.profile, self.what_if.clients)
        made = {}
        for candidate, run in self.what_if.traffic.items():
            whole = run.with_first(self.profile.first_download)
            seconds_R = clock.closing_times(whole) if clock.is_steady(whole) else None
            made[candidate] = RunCosts(whole.nbytes(), seconds_R, costs.money(whole))
        return made

    @cached_property
    def _known_axes(self) -> list[str]:
        every = list(self._costs.values())
        return [
            texts.ROUND_AXIS,
            *([texts.BYTES_AXIS] if every else []),
            *([texts.TIME_AXIS] if all(one.seconds is not None for one in every) else []),
            *([texts.MONEY_AXIS] if every and every[0].money is not None else []),
        ]

    def _curve_rows(self) -> Iterator[dict[str, Any]]:
        """Yield the drawn points of every stored run, at most ``_MOST_POINTS`` of each."""
        for candidate, told in self._intervals():
            chosen = np.unique(np.linspace(0, len(told) - 1, _MOST_POINTS).round().astype(int))
            for number, interval in (told[k] for k in chosen):
                yield {
                    "label": what_text(candidate),
                    "y": round(100 * interval.mean, 2),
                    **self._at(candidate, number),
                }

    def _at(self, candidate: Candidate, number: int) -> dict[str, float]:
        """Return the place of a round on each axis."""
        place: dict[str, float] = {texts.ROUND_AXIS: number}
        costs = self._costs.get(candidate)
        if costs:
            place[texts.BYTES_AXIS] = costs.nbytes[number - 1] / 1e6
            if costs.seconds is not None:
                place[texts.TIME_AXIS] = float(costs.seconds[number - 1])
            if costs.money is not None:
                place[texts.MONEY_AXIS] = float(costs.money[number - 1])
        return place

    def _intervals(self) -> list[tuple[Candidate, list[tuple[int, Interval]]]]:
        return list(self.what_if.intervals.items()) if self.what_if else []

    def _curves(self) -> Html:
        spoken = texts.CURVES_SPOKEN.format(count=len(self._intervals()))
        picture = figure(CURVES, texts.CURVES_CAPTION, spoken)
        return section(texts.CURVES, picture, name="curves")

    def _front(self) -> Html:
        """Return the front: what more right answers cost in bytes, time and money."""
        rows = []
        for candidate, number, interval in self._steps():
            costs = self._costs[candidate]
            seconds_R, money_R = costs.seconds, costs.money
            currency = self.profile.prices.currency if self.profile and self.profile.prices else ""
            rows.append(
                (
                    run_text(candidate, number),
                    f"{100 * interval.mean:.1f} ({100 * interval.low:.1f} to "
                    f"{100 * interval.high:.1f})",
                    format_bytes(costs.nbytes[number - 1]),
                    texts.NOT_THERE
                    if seconds_R is None
                    else format_duration(float(seconds_R[number - 1])),
                    texts.NOT_THERE
                    if money_R is None
                    else format_money(float(money_R[number - 1]), currency),
                )
            )
        parts = [table(texts.FRONT_TABLE, texts.FRONT_COLUMNS, rows)] if rows else []
        if self.plan.front:
            parts.append(table(front_title(self.plan), FRONT_COLUMNS, front_rows(self.plan)))
        note = element("p", texts.FRONT_NOTE, class_="note")
        return section(texts.FRONT, *parts, note, name="front")

    def _steps(self) -> list[tuple[Candidate, int, Interval]]:
        """Return the points that no cheaper one equals; at most ``_MOST_STEPS``."""
        points = [
            (self._costs[c].nbytes[number - 1], c, number, interval)
            for c, told in self._intervals()
            if c in self._costs
            for number, interval in told
        ]
        found: list[tuple[Candidate, int, Interval]] = []
        for _, candidate, number, interval in sorted(points, key=lambda point: point[0]):
            if not found or interval.mean > found[-1][2].mean:
                found.append((candidate, number, interval))
        chosen = np.unique(np.linspace(0, len(found) - 1, _MOST_STEPS).round().astype(int))
        return [found[k] for k in chosen] if found else []

    def _stragglers(self) -> Html:
        lines = straggler_sentences(self.plan) or [texts.NO_STRAGGLER]
        return section(texts.STRAGGLERS, paragraphs(lines), name="stragglers")

    def _sizes(self) -> Html:
        """Return the mean sizes of messages: payload, message and link."""
        rows = [
            (f"{name}, {way}", *size_cells(nbytes / (run.rounds * run.cohort), self.profile, way))
            for name, run in shown_runs(self.plan).items()
            for way, nbytes in (("down", run.down_bytes), ("up", run.up_bytes))
        ]
        made = table(texts.SIZES_TABLE, texts.SIZES_COLUMNS, rows)
        return section(
            texts.SIZES, made, element("p", texts.SIZES_NOTE, class_="note"), name="sizes"
        )

    def _search(self) -> Html:
        """Return what was tried, how far it was trained, and what that cost."""
        effort = self.plan.effort
        cost = texts.SEARCH_COST.format(
            begun=effort.get("starters"), of=effort.get("searched"), runs=effort.get("runs"),
            rounds=effort.get("trained_now_rounds"),
        )  # fmt: skip
        rows = [self._search_row(Candidate.of_settings(made)) for made in self.plan.costs]
        rows.sort(key=lambda row: (-int(row[2]), row[0]))
        made = table(texts.SEARCH_TABLE, texts.SEARCH_COLUMNS, rows)
        return section(texts.SEARCH, paragraphs([cost]), made, name="search")

    def _search_row(self, candidate: Candidate) -> tuple[str, ...]:
        affords = self.plan.affordable_rounds(candidate) or 0
        used = self.what_if.used.runs.get(candidate) if self.what_if else None
        finished = {outcome.candidate: outcome for outcome in self._outcomes}
        rounds = used.curve.rounds if used else 0
        if candidate in finished:
            rounds = max(rounds, finished[candidate].rounds)
        if used and used.curve.failed:
            state = texts.STATE_DIVERGED
        elif not rounds:
            state = texts.STATE_NOT_BEGUN if self.what_if else texts.STATE_UNKNOWN
        else:
            state = texts.STATE_ENDED if candidate in finished else texts.STATE_STOPPED
        best = texts.NOT_THERE
        if self.what_if and (told := self.what_if.intervals.get(candidate)):
            best = f"{100 * told[-1][1].mean:.1f}"
        elif candidate in finished:
            best = f"{100 * finished[candidate].expected_accuracy:.1f}"
        return (what_text(candidate), state, str(rounds), str(affords), best)

    @property
    def _outcomes(self) -> Sequence[Any]:
        plan = self.plan
        return (plan.recommendation, *plan.runners_up, *filter(None, plan.baselines.values()))

    def _said(self) -> Html:
        """Return what ``floss-plan show`` says."""
        plan, usage = self.plan, usage_rows(self.plan)
        return section(
            texts.SAID,
            table(texts.SAID_TABLE, columns(plan), table_rows(plan)),
            table(texts.SAID_TIMES, time_columns(plan), time_rows(plan)),
            *([table(texts.SAID_USAGE, USAGE_COLUMNS, usage)] if usage else []),
            *(
                [table(texts.SAID_METHODS, METHOD_COLUMNS, method_rows(plan))]
                if plan.methods
                else []
            ),
            paragraphs(sentences(plan)),
            name="said",
        )
