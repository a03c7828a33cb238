"""``floss-sim replay``: recorded runs re-timed on other networks, without training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from floss_sim.analysis.comparison import Comparison, check_evaluated
from floss_sim.analysis.crossover import common_target, crossover, parse_sweep
from floss_sim.analysis.last_part import LAST_COLUMN, LAST_LEGEND
from floss_sim.analysis.own_accuracy import OWN_COLUMN, own_cell, own_legend
from floss_sim.analysis.recorded_runs import find_runs
from floss_sim.analysis.time_notes import faster_sentence, time_notes
from floss_sim.analysis.time_spread import TimeSpread, spread_texts
from floss_sim.analysis.what_if import Scenario, recorded_network, replay_comparison, scenarios
from floss_sim.cli.console import plain_table, print_json, print_text, show_whole
from floss_sim.cli.exit_codes import ExitCode
from floss_sim.cli.json_forms import configuration_json, curve_json, point_json
from floss_sim.cli.replay_sweep import show_crossovers
from floss_sim.cli.shared_options import (
    FrameworkOption,
    JsonOption,
    check_picture,
    check_target,
    given_settings,
)
from floss_sim.cli.target_cells import target_cells
from floss_sim.errors import ConfigError, ProfileError
from floss_sim.network import NetworkProfile, load_profile
from floss_sim.network.named_changes import CHANGES, with_changes
from floss_sim.page.document import SUFFIX, check_page_path
from floss_sim.page.library import check_installed
from floss_sim.page.replayed import page_of_runs
from floss_sim.units import format_bytes

HELP = f"""Re-time recorded runs on other networks, without training: one table, one picture.

Bytes and accuracies are taken from the records; only the seconds are simulated again. Runs that
differ only in the seed are one configuration, shown as the mean of its seeds. Without --network,
changes apply to the network that the runs were recorded on.

--sweep changes one property of the network step by step ({", ".join(CHANGES)}) and
shows when each configuration reaches the target. If none reaches --target, the exit code is 3.

Examples:

  floss-sim replay runs/first --network lte --network cable.toml

  floss-sim replay 'runs/floss-*' --upload-ratio 16 --rtt 50ms

  floss-sim replay runs/first --network measured.toml --scale-up 4 --scale-down 0.5

  floss-sim replay runs/dense runs/floss --sweep upload-ratio=1,2,4,8,16,32

  floss-sim replay runs/ --target 0.9 --network lte --server-ingress 100Mbit/s

  floss-sim replay runs/dense runs/floss --network lte --report

  floss-sim replay runs/ --target 0.9 --sweep server-ingress=10Mbit/s,100Mbit/s,1Gbit/s
"""


def replay(
    runs: Annotated[
        list[str],
        typer.Argument(help="Run folders, folders that contain run folders, or quoted patterns."),
    ],
    network: Annotated[
        list[str] | None,
        typer.Option(help="Packaged profile, or a path that ends in .toml; repeatable."),
    ] = None,
    down: Annotated[str | None, typer.Option(help="Set every down rate: 100Mbit/s.")] = None,
    up: Annotated[str | None, typer.Option(help="Set every up rate: 10Mbit/s.")] = None,
    rtt: Annotated[str | None, typer.Option(help="Set every round-trip time: 50ms.")] = None,
    upload_ratio: Annotated[
        str | None, typer.Option(help="Set every up rate to 1/RATIO of its down rate.")
    ] = None,
    scale_down: Annotated[
        str | None, typer.Option(help="Multiply every down rate, as 0.5; the spread stays.")
    ] = None,
    scale_up: Annotated[
        str | None, typer.Option(help="Multiply every up rate, as 4; the spread stays.")
    ] = None,
    scale_compute: Annotated[
        str | None, typer.Option(help="Multiply all seconds of local training, as 0.5.")
    ] = None,
    framework: FrameworkOption = None,
    server_egress: Annotated[
        str | None, typer.Option(help="Capacity that all downloads share: 1Gbit/s.")
    ] = None,
    server_ingress: Annotated[
        str | None, typer.Option(help="Capacity that all uploads share: 100Mbit/s.")
    ] = None,
    first_download: Annotated[
        str | None,
        typer.Option(help="Size that each client downloads once, such as a backbone: 88MB."),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(help="Change one network property step by step: upload-ratio=1,4,16."),
    ] = None,
    target: Annotated[
        float | None,
        typer.Option(
            help="Show when the mean of each configuration reaches this validation accuracy, such "
            "as 0.9; default of a sweep: the highest accuracy that all configurations reach."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="File of the picture; ends in .png.")] = Path(
        "replay.png"
    ),
    report: Annotated[
        bool,
        typer.Option("--report", help="Write a page with sliders, too: the picture's name, .html."),
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Re-time recorded runs on other networks, without training."""
    check_target(target)
    check_picture(out)
    page = out.with_suffix(SUFFIX) if report else None
    if page and sweep is not None:
        raise ConfigError("--sweep has no page: no --report")
    if page:
        check_installed()
        check_page_path(page)
    swept = None if sweep is None else parse_sweep(sweep)
    asked = (
        down, up, rtt, upload_ratio, scale_down, scale_up, scale_compute, server_egress,
        server_ingress, first_download,
    )  # fmt: skip
    changes = given_settings(**dict(zip(CHANGES, asked, strict=True)), framework=framework)
    profiles = _distinct_profiles(load_profile(name) for name in network or ())
    comparison = replay_comparison(find_runs(runs), network[0] if network else "NETWORK")
    configurations = comparison.configurations
    if swept or target is not None or page:
        check_evaluated(configurations)
    if missed := comparison.missed_target(target):
        comparison = replace(comparison, notes=(missed, *comparison.notes))
    if not profiles and (swept or changes):
        profiles = [recorded_network(configurations)]
    if swept:
        goal = common_target(configurations) if target is None else target
        tables = [crossover(configurations, one, swept, goal, changes) for one in profiles]
        show_crossovers(comparison, tables, target is not None, out, json_)
        _end(missed)
        return
    networks = [with_changes(profile, changes) for profile in profiles]
    lines = [line for one in configurations for line in scenarios(one, networks)]
    if not lines:
        recorded_network(configurations)  # raises, because the recorded networks differ
    picture = _draw(comparison, lines, target, out)
    if page:
        notes, names = comparison.notes, network or ()
        page_of_runs(comparison.task, lines, notes, names, changes, out.parent).page().save(page)
    if json_:
        print_json(_to_json(comparison, lines, target, picture, page))
    else:
        _print(comparison, lines, target, picture, page)
    _end(missed)


def _end(missed: str | None) -> None:
    """Exit with the code for no answer if no configuration reaches the target."""
    if missed:
        raise typer.Exit(ExitCode.NO_ANSWER)


def _distinct_profiles(profiles: Iterable[NetworkProfile]) -> list[NetworkProfile]:
    """Return the profiles without duplicates.

    Raises:
        ProfileError: Two different profiles have the same name.
    """
    found: dict[str, NetworkProfile] = {}
    for profile in profiles:
        if found.setdefault(profile.name, profile) != profile:
            raise ProfileError(f"two different networks are named {profile.name!r}; rename one")
    return list(found.values())


def _draw(
    comparison: Comparison, lines: Sequence[Scenario], target: float | None, out: Path
) -> Path | None:
    from floss_sim.plots.figure import save
    from floss_sim.plots.replayed_runs import draw_replay, replay_frame

    frame = replay_frame(lines)
    if not len(frame):  # no evaluated round
        return None
    save(draw_replay(frame, comparison.task, target=target), out)
    return out


def _print(
    comparison: Comparison,
    lines: Sequence[Scenario],
    target: float | None,
    picture: Path | None,
    page: Path | None,
) -> None:
    table = plain_table(title=f"{comparison.task}: recorded runs on other networks")
    names = ["seeds", "rounds", "bytes", "time", "a round", LAST_COLUMN]
    own = own_legend([line.configuration for line in lines], [line.last_point for line in lines])
    names += [OWN_COLUMN] if own else []
    if target is not None:
        names += [f"{target:g} at round", "at bytes", "at time"]
    table.add_column("", overflow="fold")
    table.add_column("network", overflow="fold")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for cells in _rows(lines, target, bool(own)):
        table.add_row(*cells)
    show_whole(table, [line.configuration.label for line in lines], [line.title for line in lines])
    for note in [*([own] if own else []), *replay_notes(lines, target), *comparison.notes]:
        print_text(note)
    print_text(f"picture: {picture or 'none, because no round was evaluated'}")
    if page:
        print_text(f"page: {page}")


def _rows(lines: Sequence[Scenario], target: float | None, own: bool) -> list[list[str]]:
    """Return the rows of the table; a column of times has one unit if possible."""
    times = spread_texts(line.time for line in lines)
    round_times = spread_texts(line.time.per_round(line.rounds) for line in lines)
    rows = [
        [
            line.configuration.label,
            line.title,
            str(len(line.runs)),
            str(line.rounds),
            format_bytes(line.total_bytes),
            time,
            round_time,
            "-" if line.last_point is None else f"{line.last_point.accuracy:.3f}",
            *([own_cell(line.last_point)] if own else []),
        ]
        for line, time, round_time in zip(lines, times, round_times, strict=True)
    ]
    if target is None:
        return rows
    reached = target_cells([line.configuration.target_point(target) for line in lines])
    return [[*row, *cells] for row, cells in zip(rows, reached, strict=True)]


def replay_notes(lines: Sequence[Scenario], target: float | None) -> list[str]:
    """Return the sentences below the table: pairs of runs, slow clients, a legend of the times."""
    by_network: dict[str, list[Scenario]] = {}
    for line in lines:
        by_network.setdefault(line.network, []).append(line)
    what = "all rounds" if target is None else f"to accuracy {target:g}"
    pairs = [
        f"{network}, {what}: {sentence}"
        for network, some in by_network.items()
        if (sentence := faster_sentence(_times(some, target)))
    ]
    slow = [text for some in by_network.values() for text in _slow_client_notes(some)]
    return [*pairs, *slow, *time_notes(run for line in lines for run in line.runs), LAST_LEGEND]


def _times(lines: Iterable[Scenario], target: float | None) -> dict[str, TimeSpread]:
    """Return the time of each configuration on one network: of all rounds, or to a target."""
    if target is None:
        return {line.configuration.label: line.time for line in lines}
    reached = {line.configuration.label: line.configuration.target_point(target) for line in lines}
    return {label: point.time for label, point in reached.items() if point}


def _slow_client_notes(lines: Sequence[Scenario]) -> list[str]:
    """Return the sentences on the slow clients of one network, drawn fleets first.

    They are about the first run with such fleets, and the first one with a straggler.
    """
    slow = next((line for line in lines if line.slow_fleets), None)
    decided = next((line for line in lines if line.straggler), None)
    told = [f"{_run_on(slow)}: {slow.slow_fleets.text}"] if slow and slow.slow_fleets else []
    if decided and decided.straggler:
        sentences = decided.straggler.sentences(decided.straggler_link)
        told += [f"{_run_on(decided)}: {text}" for text in sentences]
    return told


def _run_on(line: Scenario) -> str:
    return f"{line.configuration.label} on {line.network}"


def _to_json(
    comparison: Comparison,
    lines: Sequence[Scenario],
    target: float | None,
    picture: Path | None,
    page: Path | None,
) -> dict[str, Any]:
    return {
        "task": comparison.task,
        "target": target,
        "scenarios": [_line_json(line, target) for line in lines],
        "notes": [*replay_notes(lines, target), *comparison.notes],
        "picture": None if picture is None else str(picture),
        **({"page": str(page)} if page else {}),
    }


def _line_json(line: Scenario, target: float | None) -> dict[str, Any]:
    return {
        **configuration_json(line.configuration),
        "network": line.network,
        "recorded": line.recorded,
        "rounds": line.rounds,
        "bytes": line.total_bytes,
        "time": line.time.to_json(),
        "round_time": line.time.per_round(line.rounds).to_json(),
        "own_fleet_s": line.own_fleet_s,
        "slow_fleets": line.slow_fleets and line.slow_fleets.to_json(),
        "straggler": line.straggler and line.straggler.to_json(),
        "last": point_json(line.last_point),
        **curve_json(line.configuration, target),
    }
