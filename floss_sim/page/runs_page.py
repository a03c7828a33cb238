"""Page of recorded runs: the best configuration in plain words, curves, sizes, sliders."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean, median
from typing import Any

from floss_sim.analysis.comparison import Configuration, CurvePoint
from floss_sim.analysis.own_accuracy import own_legend
from floss_sim.analysis.time_spread import TimeSpread
from floss_sim.analysis.traffic import Traffic
from floss_sim.analysis.what_if import Scenario
from floss_sim.methods import WAYS
from floss_sim.network import NetworkProfile
from floss_sim.page import texts
from floss_sim.page.charts import accuracy_chart
from floss_sim.page.document import Page
from floss_sim.page.formula_data import FormulaData
from floss_sim.page.message_sizes import size_cells
from floss_sim.page.parts import Html, element, figure, joined, paragraphs, section, table
from floss_sim.page.shown import (
    Choice,
    ShownConfiguration,
    ShownNetwork,
    Slider,
    unserved_reason,
    without_first,
)
from floss_sim.page.sliders import BUDGET_FACTORS, Settings, budget_slider, network_sliders
from floss_sim.page.what_if_section import what_if_charts, what_if_section
from floss_sim.runs.retiming import fleet_size
from floss_sim.units import format_bytes, format_duration

CURVES = "accuracy"
_MOST_POINTS = 100  # of a drawn line


@dataclass(frozen=True)
class NamedNetwork:
    """A network that the sliders of a page change, and the words of a command that choose it."""

    profile: NetworkProfile
    words: str


@dataclass(frozen=True)
class RunsPage:
    """A page of recorded runs.

    Attributes:
        task: Name of their task.
        lines: The configurations, each on its networks.
        notes: Sentences on the runs.
        networks: Networks for the sliders; the first one is shown at first.
        settings: Where the sliders stand at first.
        fixed: Further words of the command, of changes that no slider makes.
        folder: Folder of the page, to which paths in commands are relative.
    """

    task: str
    lines: Sequence[Scenario]
    notes: Sequence[str]
    networks: Sequence[NamedNetwork]
    settings: Settings
    fixed: str
    folder: Path

    def page(self) -> Page:
        """Return the page."""
        title = texts.RUNS_TITLE.format(task=self.task)
        charts, body = {CURVES: self._chart()}, [self._first_screen(title)]
        if not self._served:
            unserved = paragraphs([texts.NO_SLIDERS, *self._unserved_lines(), self._other_network])
            body.append(section(texts.WHAT_IF, unserved, name="what-if-section"))
            return Page(title, joined([*body, self._sizes(), self._origin()]), charts)
        sliders, data = self._sliders(), self._data()
        body += [what_if_section(sliders, self._unserved_lines()), self._sizes(), self._origin()]
        return Page(
            title, joined(body), charts | what_if_charts(), data.to_json(sliders), data.arrays
        )

    @cached_property
    def _ordered(self) -> list[Scenario]:
        """The lines, best mean accuracy first, then fewest bytes."""
        evaluated = [line for line in self.lines if line.last_point]
        return sorted(evaluated, key=lambda line: (-_end(line).accuracy, _end(line).total_bytes))

    def _first_screen(self, title: str) -> Html:
        best, fastest = self._ordered[0], self._fastest
        lines = [
            texts.RUNS_BEST.format(
                label=best.configuration.label, network=best.title, **_words_of(best)
            )
        ]
        if len(self._ordered) > 1 and fastest:
            target, line, point = fastest
            lines.append(
                texts.RUNS_FASTEST.format(
                    target=f"{100 * target:.1f}",
                    label=line.configuration.label,
                    network=line.title,
                    time=point.time.text,
                    nbytes=format_bytes(point.total_bytes),
                )
            )
        warned = [*self._warnings(), *(f"{note}." for note in self.notes)]
        return joined(
            [
                element("h1", title, dir="auto"),
                element("p", " ".join(lines), class_="answer", dir="auto"),
                paragraphs([" ".join(warned)] if warned else [], class_="warning"),
                figure(CURVES, texts.RUNS_CAPTION, self._spoken),
                *self._table(),
            ]
        )

    def _table(self) -> tuple[Html, Html]:
        """Return the table of the lines and its notes, with own models where they are measured."""
        ends = [_end(line) for line in self._ordered]
        own = own_legend([line.configuration for line in self._ordered], ends)
        columns, rows = [*texts.RUNS_COLUMNS], [[*_row(line)] for line in self._ordered]
        if own:
            columns.insert(5, texts.RUNS_OWN)
            for row, end in zip(rows, ends, strict=True):
                mean = end.own_accuracy
                row.insert(5, texts.NOT_THERE if mean is None else f"{100 * mean:.1f}")
        notes = [texts.RUNS_NOTE, *([f"{own}."] if own else [])]
        return table(texts.RUNS_TABLE, columns, rows), paragraphs(notes, class_="note")

    def _warnings(self) -> Iterator[str]:
        profiles = [one.profile for one in self.networks]
        rates = [one.alone_bits_per_s(way) for one in profiles for way in WAYS]
        if any(profile.is_traffic_alone for profile in profiles):
            yield texts.WARN_ALONE
        if any(map(math.isfinite, rates)):
            yield texts.WARN_SHARED

    @cached_property
    def _fastest(self) -> tuple[float, Scenario, CurvePoint] | None:
        """The highest accuracy that all configurations reach, and the line that is there first."""
        target = min(max(p.accuracy for p in line.configuration.points) for line in self._ordered)
        reached = [
            (line, point)
            for line in self._ordered
            if (point := line.configuration.target_point(target))
        ]
        if not reached:
            return None
        line, point = min(reached, key=lambda pair: pair[1].time.median_s)
        return target, line, point

    @property
    def _labels(self) -> list[str]:
        several = len({line.title for line in self._ordered}) > 1
        return [
            f"{line.configuration.label}, {line.title}" if several else line.configuration.label
            for line in self._ordered
        ]

    def _chart(self) -> dict[str, Any]:
        rows = [
            row
            for label, line in zip(self._labels, self._ordered, strict=True)
            for row in _curve_rows(label, line)
        ]
        return accuracy_chart(rows, self._labels, texts.TIME_AXIS, texts.RIGHT_AXIS, self._spoken)

    @property
    def _spoken(self) -> str:
        told = (
            texts.RUNS_END.format(label=label, **_words_of(line))
            for label, line in zip(self._labels, self._ordered, strict=True)
        )
        return " ".join([texts.RUNS_SPOKEN, *told])

    @property
    def _every(self) -> dict[str, Configuration]:
        return {line.configuration.label: line.configuration for line in self._ordered}

    @cached_property
    def _configurations(self) -> list[Configuration]:
        """The configurations whose training time did not shape, each once."""
        return [one for one in self._every.values() if all(run.waits_for_all for run in one.runs)]

    @cached_property
    def _traffic(self) -> list[list[Traffic]]:
        return [[Traffic.of(run.record) for run in one.runs] for one in self._configurations]

    @cached_property
    def _offered(self) -> list[ShownNetwork]:
        if not self._configurations:
            return []
        clients = fleet_size(self._configurations[0].runs[0].folder.description)
        return [
            ShownNetwork(one.profile.name, one.profile, one.words, clients) for one in self.networks
        ]

    @cached_property
    def _unserved(self) -> dict[str, str]:
        runs = [run for several in self._traffic for run in several]
        found = {one.title: unserved_reason(one, runs) for one in self._offered}
        return {title: why for title, why in found.items() if why}

    @property
    def _served(self) -> list[ShownNetwork]:
        return [one for one in self._offered if one.title not in self._unserved]

    def _unserved_lines(self) -> list[str]:
        words = {
            one.title: f"{one.words}{self.settings.words} {self.fixed}".strip()
            for one in self._offered
        }
        paths = " ".join(self._paths(one) for one in self._configurations)
        return [
            texts.NOT_SERVED.format(
                network=title, why=why, command=f"floss-sim replay {paths} {words[title]}"
            )
            for title, why in self._unserved.items()
        ]

    @property
    def _other_network(self) -> str:
        """How to ask for another network."""
        paths = " ".join(self._paths(one) for one in self._every.values())
        return texts.OTHER_NETWORK.format(
            command=f"floss-sim replay {paths} --network NAME --report"
        )

    def _paths(self, configuration: Configuration) -> str:
        folder = self.folder.resolve()
        paths = (os.path.relpath(run.path.resolve(), folder) for run in configuration.runs)
        return " ".join(map(shlex.quote, paths))

    @property
    def _budget_s(self) -> float:
        """The budget of the sliders at first: the median of the configurations' times."""
        return median(line.time.median_s for line in self._ordered)

    def _sliders(self) -> dict[str, Slider]:
        clients = self._offered[0].clients
        profiles = [one.profile for one in self._served]
        computes = any(link.computes for one in profiles for link in one.links(clients))
        made = network_sliders(
            self._served, self.settings, computes=computes, rates="--up " not in self.fixed
        )
        told = [format_duration(self._budget_s * factor) for factor in BUDGET_FACTORS]
        return {**made, "budget": budget_slider(told)}

    def _data(self) -> FormulaData:
        pairs = zip(self._configurations, self._traffic, strict=True)
        made = [self._shown(one, runs) for one, runs in pairs]
        return FormulaData(self._served, made, Choice("seconds", self._budget_s), self.fixed)

    def _shown(self, one: Configuration, runs: Sequence[Traffic]) -> ShownConfiguration:
        bare = [without_first(run) for run in runs]
        points = one.points
        figures = (
            [point.accuracy for point in points],
            [point.lowest for point in points],
            [point.highest for point in points],
            [point.total_bytes for point in points],
        )
        return ShownConfiguration(
            label=one.label,
            runs=tuple(run for run, _ in bare),
            first_bytes=max(first for _, first in bare),
            evaluated=[point.round for point in points],
            figures=figures,
            command=self._paths(one),
        )

    def _sizes(self) -> Html:
        """Return the mean sizes of messages of the runs: payload, message and link."""
        profile = self.networks[0].profile if self.networks else None
        rows = []
        for one in self._every.values():
            for way in ("down", "up"):
                last = one.points[-1].round
                sizes = [size for run in one.runs if (size := run.payload_bytes(way, last))]
                if sizes:
                    rows.append((f"{one.label}, {way}", *size_cells(fmean(sizes), profile, way)))
        made = table(texts.SIZES_TABLE, texts.SIZES_COLUMNS, rows)
        note = element("p", texts.SIZES_NOTE, class_="note")
        return section(texts.SIZES, made, note, name="sizes")

    def _origin(self) -> Html:
        """Return what the runs were made with."""
        run = self._ordered[0].runs[0]
        trajectory = run.folder.description["trajectory"]
        told = [(key, str(trajectory[key])) for key in texts.RUN_KEYS if key in trajectory]
        told += sorted((trajectory.get("versions") or {}).items())
        rows = [(name, str(value)) for name, value in told]
        made = table(texts.RUN_ORIGIN, texts.PROVENANCE_COLUMNS, rows, class_="wraps")
        return section(texts.PROVENANCE, made, name="provenance")


def _end(line: Scenario) -> CurvePoint:
    return line.configuration.points[-1]


def _words_of(line: Scenario) -> dict[str, str]:
    end, seeds = _end(line), len(line.runs)
    spread = ""
    if seeds > 1:
        ends = (f"{100 * end.lowest:.1f}", f"{100 * end.highest:.1f}")
        spread = texts.RUNS_SEEDS.format(seeds=seeds, low=ends[0], high=ends[1])
    return {
        "mean": f"{100 * end.accuracy:.1f}",
        "spread": spread,
        "rounds": str(end.round),
        "time": end.time.text,
        "nbytes": format_bytes(end.total_bytes),
    }


def _row(line: Scenario) -> tuple[str, ...]:
    words, end = _words_of(line), _end(line)
    ends = (f"{100 * end.lowest:.1f}", f"{100 * end.highest:.1f}")
    return (
        line.configuration.label,
        line.title,
        str(len(line.runs)),
        words["mean"],
        texts.NOT_THERE if len(line.runs) == 1 else f"{ends[0]} to {ends[1]}",
        words["rounds"],
        words["nbytes"],
        words["time"],
    )


def _curve_rows(label: str, line: Scenario) -> Iterator[dict[str, Any]]:
    """Yield the drawn points of a line, with the range of its seeds."""
    points = line.configuration.points
    step = -(-len(points) // _MOST_POINTS)
    for point in (*points[:-1:step], points[-1]):
        time: TimeSpread = point.time
        row = {"label": label, "x": time.median_s, "y": 100 * point.accuracy}
        if len(line.runs) > 1:
            row |= {"low": 100 * point.lowest, "high": 100 * point.highest}
        if point is points[-1]:
            row |= {"low": 100 * point.lowest, "high": 100 * point.highest, "end": True}
            row |= {"tip": texts.RUNS_END.format(label=label, **_words_of(line))}
        yield row
