"""Output of a sweep of ``floss-sim replay``: a picture, and a table for each network or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from floss_sim.analysis.comparison import Comparison
from floss_sim.analysis.crossover import Crossover
from floss_sim.analysis.time_spread import (
    PROBED_LEGEND,
    SPREAD_LEGEND,
    nothing_drawn_note,
    spread_texts,
    traffic_alone_note,
)
from floss_sim.cli.console import plain_table, print_json, print_text, show_whole
from floss_sim.units import format_bytes


def show_crossovers(
    comparison: Comparison, crossovers: Sequence[Crossover], given: bool, out: Path, json_: bool
) -> None:
    """Draw crossovers and print them.

    Args:
        comparison: The configurations, with notes to print.
        crossovers: The crossovers, one for each network.
        given: Whether the target was given by an option.
        out: Path of the picture.
        json_: Whether to print JSON instead of tables.

    Raises:
        RecordError: The picture cannot be written.
    """
    from floss_sim.plots.figure import save
    from floss_sim.plots.replayed_runs import crossover_frame, draw_crossovers

    frame = crossover_frame(crossovers)
    target, name = crossovers[0].target, crossovers[0].sweep.name
    title = f"{comparison.task}: simulated time to accuracy {target:.4g}"
    picture = None
    if len(frame):
        save(draw_crossovers(frame, title, name), out)
        picture = str(out)
    if json_:
        answer = {
            "task": comparison.task,
            "target": target,
            "sweep": name,
            "networks": [_to_json(crossover) for crossover in crossovers],
            "notes": [*sweep_notes(crossovers), *comparison.notes],
            "picture": picture,
        }
        print_json(answer)
        return
    for crossover in crossovers:
        _print(crossover, f"{title} on {crossover.network}")
    if not given:
        print_text(f"accuracy {target:.4g}: the highest that every configuration reaches")
    for note in [*sweep_notes(crossovers), *comparison.notes]:
        print_text(note)
    print_text(f"picture: {picture or 'none, because no configuration reaches the target'}")


def _print(crossover: Crossover, title: str) -> None:
    table, several = plain_table(), len(crossover.labels) > 1
    table.add_column(crossover.sweep.name)
    for label in crossover.labels:
        table.add_column(label, justify="right", overflow="fold")
    sureness = crossover.sureness()
    if any(sureness):
        table.add_column("before the second", justify="right")
    rows = zip(crossover.sweep.values, _cells(crossover), strict=True)
    for (value, row), sure in zip(rows, sureness, strict=True):
        table.add_row(value, *row, *([_sure_cell(sure)] if any(sureness) else []))
    table.add_row("bytes", *map(_bytes_cell, zip(*crossover.nbytes, strict=True)))
    print_text(f"{title}; * marks the fastest" if several else title)
    show_whole(table, *([label] for label in crossover.labels))
    if several:
        print_text(f"{crossover.verdict()}\n")


def _cells(crossover: Crossover) -> list[list[str]]:
    """Return the times by value and configuration, in one unit if possible, the fastest marked."""
    labels, several = crossover.labels, len(crossover.labels) > 1
    texts = iter(spread_texts((t for row in crossover.times for t in row), "not reached"))
    return [
        [f"{'* ' if several and label in fastest else ''}{next(texts)}" for label in labels]
        for fastest in crossover.winners()
    ]


def _bytes_cell(nbytes: Sequence[float | None]) -> str:
    """Return the bytes to the target, from the least to the most where values of the sweep differ.

    A first download is a value that changes them.
    """
    known = [one for one in nbytes if one is not None]
    texts = dict.fromkeys(map(format_bytes, (min(known), max(known)) if known else ()))
    return " to ".join(texts) or "-"


def _sure_cell(sure: float | None) -> str:
    return "-" if sure is None else f"{100 * sure:.0f} % of fleets"


def sweep_notes(crossovers: Sequence[Crossover]) -> list[str]:
    """Return the legend of the times of a sweep, and what is particular about its networks.

    That is that one draws nothing, or that its seconds are those of traffic alone.
    """
    times = [time for one in crossovers for row in one.times for time in row if time]
    notes = [f"time: {SPREAD_LEGEND}"] if any(time.draws > 1 for time in times) else []
    if any(time.method == "probed" for time in times):
        notes.append(PROBED_LEGEND)
    single = [
        one for one in crossovers if any(t and t.draws == 1 for row in one.times for t in row)
    ]
    notes += [nothing_drawn_note(one.network) for one in single]
    return [*notes, *(traffic_alone_note(one.network) for one in crossovers if one.traffic_alone)]


def _to_json(crossover: Crossover) -> dict[str, Any]:
    columns = (
        crossover.sweep.values,
        crossover.times,
        crossover.nbytes,
        crossover.winners(),
        crossover.sureness(),
    )
    return {
        "network": crossover.network,
        "rows": [
            {
                "value": value,
                "seconds": {
                    label: time and time.median_s
                    for label, time in zip(crossover.labels, times, strict=True)
                },
                "times": {
                    label: time and time.to_json()
                    for label, time in zip(crossover.labels, times, strict=True)
                },
                "bytes": dict(zip(crossover.labels, nbytes, strict=True)),
                "fastest": list(fastest),
                "fraction_of_fleets_before_second": sure,
            }
            for value, times, nbytes, fastest, sure in zip(*columns, strict=True)
        ],
        "verdict": crossover.verdict(),
    }
