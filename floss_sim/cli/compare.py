"""``floss-sim compare``: one table and one picture of recorded runs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from floss_sim.analysis.comparison import (
    Axis,
    Comparison,
    ComparisonRow,
    CurveLimit,
    equal_bytes,
    parse_axis,
    parse_limit,
)
from floss_sim.analysis.comparison import compare as compare_runs
from floss_sim.analysis.last_part import LAST_COLUMN, LAST_LEGEND
from floss_sim.analysis.on_test import LEVEL
from floss_sim.analysis.own_accuracy import (
    OWN_COLUMN,
    OWN_TEST_COLUMN,
    own_cell,
    own_legend,
)
from floss_sim.analysis.recorded_runs import find_runs
from floss_sim.analysis.time_notes import faster_sentence, time_notes
from floss_sim.analysis.time_spread import TimeSpread, spread_texts
from floss_sim.cli.console import plain_table, print_json, print_text, show_whole
from floss_sim.cli.exit_codes import ExitCode
from floss_sim.cli.json_forms import configuration_json, curve_json, point_json
from floss_sim.cli.shared_options import (
    JsonOption,
    check_outputs,
    check_picture,
    check_target,
)
from floss_sim.cli.target_cells import target_cells
from floss_sim.files import write_atomically
from floss_sim.network import load_profile
from floss_sim.units import format_bytes

HELP = """Compare recorded runs: one table, one picture.

Runs that differ only in the seed are one configuration, drawn as the mean of its seeds and a band
from the lowest to the highest seed. All runs must have the same task. The last column, such as
"last eval. at 20 MB", has the accuracies at equal bytes: within those of the cheapest
configuration. If no configuration reaches --target, the exit code is 3.

Examples:

  floss-sim compare runs/

  floss-sim compare runs/dense-s0 'runs/floss-*' --x time --out floss.png

  floss-sim compare runs/ --at 20MB --target 0.9 --csv curves.csv

  floss-sim compare old-runs/ --network mine.toml
"""
CSV_COLUMNS = ("label", "seed", "round", "seconds", "bytes", "accuracy", "loss")


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(help="Run folders, folders that contain run folders, or quoted patterns."),
    ],
    x: Annotated[
        str, typer.Option(help="Quantity on the picture's x axis: round, bytes or seconds.")
    ] = Axis.BYTES.value,
    at: Annotated[
        str | None,
        typer.Option(
            help="Show every configuration at its last round within a limit: 100 (rounds), 20MB or "
            "30s (median over fleets); default: the last round that all its seeds share."
        ),
    ] = None,
    target: Annotated[
        float | None,
        typer.Option(
            help="Show when the mean of each configuration reaches this validation accuracy, such "
            "as 0.9."
        ),
    ] = None,
    network: Annotated[
        list[str] | None,
        typer.Option(
            help="File (.toml) of the network that runs were recorded on, for the times of records "
            "that do not keep it; repeatable."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="File of the picture; ends in .png.")] = Path(
        "comparison.png"
    ),
    csv_: Annotated[
        Path | None,
        typer.Option("--csv", help="Write every evaluated round of every run to this file."),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Compare recorded runs: one table, one picture."""
    axis, limit = parse_axis(x), None if at is None else parse_limit(at)
    check_target(target)
    check_picture(out)
    check_outputs(out, csv_)
    networks = [load_profile(name) for name in network or ()]
    comparison = compare_runs(find_runs(runs), networks)
    if missed := comparison.missed_target(target):
        comparison = replace(comparison, notes=(missed, *comparison.notes))
    readings = comparison.readings(limit)
    equal = None if limit and limit.axis is Axis.BYTES else equal_bytes(readings)
    _draw(comparison, readings, axis, limit, target, out)
    if csv_:
        write_atomically(csv_, _csv(readings))
    if json_:
        print_json(_to_json(comparison, readings, at, target, equal, out))
    else:
        _print(comparison, readings, at, target, equal, out)
    if missed:
        raise typer.Exit(ExitCode.NO_ANSWER)


def _draw(
    comparison: Comparison,
    readings: Iterable[ComparisonRow],
    x: Axis,
    limit: CurveLimit | None,
    target: float | None,
    out: Path,
) -> None:
    from floss_sim.plots.accuracy import comparison_frame, draw_comparison
    from floss_sim.plots.figure import save

    frame = comparison_frame(reading.configuration for reading in readings)
    at = limit.amount if limit and limit.axis == x else None
    save(draw_comparison(frame, x.column, comparison.task, target=target, at=at), out)


def _print(
    comparison: Comparison,
    readings: Sequence[ComparisonRow],
    at: str | None,
    target: float | None,
    equal: CurveLimit | None,
    out: Path,
) -> None:
    where = "at the last round that all its seeds share"
    if at is not None:
        where = f"within {at}{' rounds' if at.isdigit() else ''}"
    table = plain_table(title=f"{comparison.task}: each configuration {where}")
    names = ["", "seeds", "round", LAST_COLUMN, "± sd", "test", "down", "up", "bytes", "time"]
    if target is not None:
        names += [f"{target:g} at round", "at bytes", "at time"]
    own = own_legend([r.configuration for r in readings], [r.point for r in readings])
    names += [OWN_COLUMN, OWN_TEST_COLUMN] if own else []
    names += [] if equal is None else [f"{LAST_COLUMN} at {format_bytes(equal.amount)}"]
    table.add_column(names[0], overflow="fold")
    for name in names[1:]:
        table.add_column(name, justify="right", no_wrap=True)
    for cells in _rows(readings, target, equal, bool(own)):
        table.add_row(*cells)
    show_whole(table, [reading.configuration.label for reading in readings])
    print_text(
        "down, up: bytes of one client in one round; bytes: all clients, both directions; "
        "sd: standard deviation over seeds"
    )
    if any(reading.test for reading in readings):
        print_text(
            f"± of a test accuracy: half of its {100 * LEVEL:.0f} % interval, over test examples, "
            "and over seeds where there are several"
        )
    if equal:
        print_text(
            f"{LAST_COLUMN} at {format_bytes(equal.amount)}: at equal bytes, the last one within "
            "the bytes of the cheapest configuration"
        )
    if own:
        print_text(own)
    for note in [*comparison_notes(readings, target), *comparison.notes]:
        print_text(note)
    print_text(f"picture: {out}")


def _rows(
    readings: Sequence[ComparisonRow], target: float | None, equal: CurveLimit | None, own: bool
) -> list[list[str]]:
    """Return the rows of the table; a column of times has one unit if possible."""
    times = spread_texts(reading.point.time if reading.point else None for reading in readings)
    points = [] if target is None else [r.configuration.target_point(target) for r in readings]
    reached = target_cells(points) or [[] for _ in readings]
    return [
        [*_row(reading), time, *cells, *_own_cells(reading, own), *_equal_cells(reading, equal)]
        for reading, time, cells in zip(readings, times, reached, strict=True)
    ]


def _row(reading: ComparisonRow) -> list[str]:
    configuration, point = reading.configuration, reading.point
    start = [configuration.label, str(len(configuration.runs))]
    if point is None:
        return [*start, *["-"] * 7]
    return [
        *start,
        str(point.round),
        f"{point.accuracy:.3f}",
        "-" if point.accuracy_sd is None else f"{point.accuracy_sd:.3f}",
        _test_accuracy(reading),
        _bytes(reading.down_bytes),
        _bytes(reading.up_bytes),
        _bytes(point.total_bytes),
    ]


def _test_accuracy(reading: ComparisonRow) -> str:
    """Return the mean test accuracy with half of its interval, and the number of tested seeds.

    The number is left out if all seeds were tested.
    """
    if reading.test_accuracy is None:
        return "-"
    known = len(reading.test_accuracies)
    of_all = known == len(reading.configuration.runs)
    told = reading.test
    half = f"±{(told.high - told.low) / 2:.3f}" if told else ""
    return f"{reading.test_accuracy:.3f}{half}" + ("" if of_all else f" ({known})")


def _bytes(nbytes: float | None) -> str:
    return "-" if nbytes is None else format_bytes(nbytes)


def _own_cells(reading: ComparisonRow, own: bool) -> list[str]:
    """Return the accuracies of the clients' own models, on validation and on test."""
    if not own:
        return []
    test = reading.own_test_accuracy
    return [own_cell(reading.point), "-" if test is None else f"{test:.3f}"]


def _equal_cells(reading: ComparisonRow, equal: CurveLimit | None) -> list[str]:
    if equal is None:
        return []
    point = reading.configuration.last_point(equal)
    return ["-" if point is None else f"{point.accuracy:.3f}"]


def comparison_notes(readings: Sequence[ComparisonRow], target: float | None) -> list[str]:
    """Return which configuration is faster on common fleets, and legends of the times."""
    by_network: dict[str, dict[str, TimeSpread]] = {}
    for reading in readings:
        configuration, point = reading.configuration, reading.point
        if target is not None:
            point = configuration.target_point(target)
        if point and point.time.draws > 1:
            timing = by_network.setdefault(configuration.settings["timing"], {})
            timing[configuration.label] = point.time
    what = "until the rounds shown: " if target is None else f"to accuracy {target:g}: "
    pairs = [f"{what}{text}" for some in by_network.values() if (text := faster_sentence(some))]
    runs = [run for reading in readings for run in reading.configuration.runs]
    networks = sorted({run.folder.manifest().network for run in runs})
    whose = (
        f"seconds: of the network that each run was recorded on ({'; '.join(networks)}); "
        "floss-sim replay RUNS --network NAME has those of others"
    )
    return [*pairs, *time_notes(runs), whose, LAST_LEGEND]


def _csv(readings: Iterable[ComparisonRow]) -> str:
    """Return CSV rows of all evaluated rounds of all runs, also of rounds that some seeds lack."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    columns = ("round", "closed_at_s", "total_bytes", "accuracy", "loss")
    for configuration in (reading.configuration for reading in readings):
        for run in configuration.runs:
            for row in run.curve.values():
                writer.writerow([configuration.label, run.seed, *(row[c] for c in columns)])
    return text.getvalue()


def _to_json(
    comparison: Comparison,
    readings: Sequence[ComparisonRow],
    at: str | None,
    target: float | None,
    equal: CurveLimit | None,
    out: Path,
) -> dict[str, Any]:
    return {
        "task": comparison.task,
        "at": at,
        "target": target,
        "equal_bytes": equal and equal.amount,
        "configurations": [_reading_json(reading, target, equal) for reading in readings],
        "notes": [*comparison_notes(readings, target), *comparison.notes],
        "picture": str(out),
    }


def _reading_json(
    reading: ComparisonRow, target: float | None, equal: CurveLimit | None
) -> dict[str, Any]:
    within = None if equal is None else reading.configuration.last_point(equal)
    return {
        **configuration_json(reading.configuration),
        "read_at": point_json(reading.point),
        "at_equal_bytes": point_json(within),
        "down_bytes_per_client_round": reading.down_bytes,
        "up_bytes_per_client_round": reading.up_bytes,
        "test_accuracy": reading.test_accuracy,
        "test_seeds": len(reading.test_accuracies),
        "test": reading.test and reading.test.to_json(),
        **({"own_test_accuracy": reading.own_test_accuracy} if reading.own_tests else {}),
        **curve_json(reading.configuration, target),
    }
