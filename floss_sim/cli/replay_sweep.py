"""Output of a sweep of ``floss-sim replay``: a picture, and a table for each network or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from floss_sim.analysis.comparison import Comparison
from floss_sim.analysis.crossover import Crossover
from floss_sim.cli.console import plain_table, print_json, print_text, show_whole
from floss_sim.units import format_duration


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
            "notes": list(comparison.notes),
            "picture": picture,
        }
        print_json(answer)
        return
    for crossover in crossovers:
        _print(crossover, f"{title} on {crossover.network}")
    if not given:
        print_text(f"accuracy {target:.4g}: the highest that every configuration reaches")
    for note in comparison.notes:
        print_text(note)
    print_text(f"picture: {picture or 'none, because no configuration reaches the target'}")


def _print(crossover: Crossover, title: str) -> None:
    table, several = plain_table(), len(crossover.labels) > 1
    table.add_column(crossover.sweep.name)
    for label in crossover.labels:
        table.add_column(label, justify="right", overflow="fold")
    rows = zip(crossover.sweep.values, crossover.seconds, crossover.winners(), strict=True)
    for value, seconds, fastest in rows:
        cells = zip(crossover.labels, seconds, strict=True)
        table.add_row(value, *(_cell(s, several and label in fastest) for label, s in cells))
    print_text(f"{title}; * marks the fastest" if several else title)
    show_whole(table, *([label] for label in crossover.labels))
    if several:
        print_text(f"{crossover.verdict()}\n")


def _cell(seconds: float | None, fastest: bool) -> str:
    if seconds is None:
        return "not reached"
    return f"{'* ' if fastest else ''}{format_duration(seconds)}"


def _to_json(crossover: Crossover) -> dict[str, Any]:
    rows = zip(crossover.sweep.values, crossover.seconds, crossover.winners(), strict=True)
    return {
        "network": crossover.network,
        "rows": [
            {
                "value": value,
                "seconds": dict(zip(crossover.labels, seconds, strict=True)),
                "fastest": list(fastest),
            }
            for value, seconds, fastest in rows
        ],
        "verdict": crossover.verdict(),
    }
