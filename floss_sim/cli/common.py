"""What the commands share: exit codes, options, the progress bar."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from typer.core import TyperGroup
from typer.exceptions import TyperException

from floss_sim.analysis.comparison import Configuration, Point
from floss_sim.errors import ConfigError, FlossError
from floss_sim.network import NetworkProfile, load_profile
from floss_sim.network.changes import changed
from floss_sim.tasks import Task
from floss_sim.training import DEVICES
from floss_sim.wire import VALUE_CODES
from floss_sim.wire.framing import OVERHEAD_BYTES

TaskOption = Annotated[str, typer.Option(help="Packaged task, or a path that ends in .toml.")]
DatasetOption = Annotated[
    str | None, typer.Option(help="Local data set or hub id instead of the task's.")
]
BackboneOption = Annotated[
    str | None, typer.Option(help="Local backbone folder or hub id instead of the task's.")
]
FetchOption = Annotated[
    bool, typer.Option("--fetch", help="Download from the hub what its local cache lacks.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any other key of the task, as SECTION.KEY=VALUE; repeatable."),
]
NetworkOption = Annotated[
    str, typer.Option("--network", help="Packaged profile, or a path that ends in .toml.")
]
RatioOption = Annotated[
    float | None, typer.Option(help="Set every up rate to 1/RATIO of its down rate.")
]
BackboneDownloadOption = Annotated[
    bool,
    typer.Option("--include-backbone", help="Clients first download the backbone, once each."),
]
SeedOption = Annotated[int, typer.Option(help="Names every random stream of the run.")]
DeviceOption = Annotated[str, typer.Option(help=f"One of {', '.join(DEVICES)}.")]
ThreadsOption = Annotated[
    int, typer.Option(min=1, max=os.cpu_count() or 1, help="Threads of torch.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]

FRAMED_LEGEND = f"payload: positions and values; framed: with our frame of {OVERHEAD_BYTES} bytes"
SIZES_LEGEND = (
    f"{FRAMED_LEGEND}; message: framed, with the call's RPC framing; link: message, with TLS "
    "records and TCP/IP headers"
)
_FOLDED_WIDTH = 28  # characters that a name keeps on a narrow terminal before it is folded
EXIT_BAD_INPUT, EXIT_FAILED, EXIT_INTERRUPTED = 2, 1, 130


def commands(help_: str) -> typer.Typer:
    """Return an app of commands, of which one must be given.

    Raises:
        ConfigError: When it is called without one.
    """
    app = typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, help=help_
    )

    @app.callback(invoke_without_command=True, help=help_)
    def needs_command(context: typer.Context) -> None:
        if context.invoked_subcommand is None and isinstance(context.command, TyperGroup):
            raise ConfigError(f"missing command: {either(context.command.list_commands(context))}")

    return app


def either(names: Iterable[str]) -> str:
    """Return names in words, such as ``"a, b or c"``."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def guard(app: typer.Typer, name: str) -> int:
    """Run a typer app; return its exit code after saying any error in one line on stderr."""
    result, message = None, None
    try:
        result = app(standalone_mode=False)
    except TyperException as error:
        message, code = error.format_message(), EXIT_BAD_INPUT
    except ConfigError as error:
        message, code = str(error), EXIT_BAD_INPUT
    except FlossError as error:
        message, code = str(error), EXIT_FAILED
    except OSError as error:
        message, code = f"{error.filename or 'file system'}: {error.strerror}", EXIT_BAD_INPUT
    except (KeyboardInterrupt, typer.Abort):
        result = EXIT_INTERRUPTED
    if message is None:
        code = result if isinstance(result, int) else 0
        if code != EXIT_INTERRUPTED:  # typer turns Ctrl-C into this code
            return code
        message = "interrupted; the same command goes on from here"
    print(f"{name}: {' '.join(message.split())}", file=sys.stderr)
    return code


def network(name: str, upload_ratio: float | None) -> NetworkProfile:
    """Return a network profile, its up rates at ``1 / upload_ratio`` of the down rates if given.

    Raises:
        ProfileError: Unknown or unusable profile, or a ratio that is not above zero.
    """
    profile = load_profile(name)
    return profile if upload_ratio is None else profile.with_upload_ratio(upload_ratio)


def with_backbone(profile: NetworkProfile, task: Task, include: bool) -> NetworkProfile:
    """Return a profile on which clients first download the task's backbone, if asked."""
    if not include:
        return profile
    return changed(profile, "first-download", f"{task.backbone_bytes}B")


def parse_settings(items: Sequence[str] | None) -> dict[str, Any]:
    """Return the keys of ``--set SECTION.KEY=VALUE`` options; a value is TOML, or else a text.

    Raises:
        ConfigError: An item without ``=``.
    """
    settings = {}
    for item in items or ():
        key, equals, text = item.partition("=")
        if not (key and equals):
            raise ConfigError(f"--set {item!r} is not SECTION.KEY=VALUE, such as data.limit=1000")
        try:
            settings[key] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            settings[key] = text
    return settings


def given(**settings: Any) -> dict[str, Any]:
    """Return the settings that were given, that is, are not None."""
    return {name: value for name, value in settings.items() if value is not None}


def check_target(target: float | None) -> None:
    """Raise ConfigError unless a target is an accuracy."""
    if target is not None and not 0 < target <= 1:
        raise ConfigError(f"target {target:g} is outside (0, 1]; 0.9 is 90 %")


def check_value_code(option: str, name: str) -> None:
    """Raise ConfigError unless a name is that of a value code."""
    if name not in VALUE_CODES:
        raise ConfigError(f"{option} {name!r} is unknown; valid: {', '.join(VALUE_CODES)}")


def check_picture(path: Path) -> None:
    """Raise ConfigError unless a path is one of a PNG."""
    if path.suffix != ".png":
        raise ConfigError(f"picture {str(path)!r} must end in .png")


def configuration_json(configuration: Configuration) -> dict[str, Any]:
    """Return what a configuration is, as plain values."""
    return {
        "label": configuration.label,
        "method": configuration.method,
        "settings": dict(configuration.settings),
        "seeds": [run.seed for run in configuration.runs],
        "runs": [str(run.path) for run in configuration.runs],
    }


def curve_json(configuration: Configuration, target: float | None) -> dict[str, Any]:
    """Return when a configuration reaches a target, and its curve, as plain values."""
    reached = None if target is None else configuration.reaching(target)
    return {
        "reached_at": point_json(reached),
        "curve": [point_json(point) for point in configuration.points],
    }


def point_json(point: Point | None) -> dict[str, Any] | None:
    """Return a point as plain values."""
    return None if point is None else asdict(point)


def plain_table(*columns: str, title: str | None = None) -> Table:
    """Return a table in the house's looks; columns are numbers, but for the first and `source`."""
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for i, name in enumerate(columns):
        is_text = i == 0 or name == "source"
        table.add_column(name, no_wrap=True, justify="left" if is_text else "right")
    return table


def show_whole(table: Table, *folded: Iterable[str]) -> None:
    """Print a table whole: names are folded on a narrow terminal, numbers never cut.

    Args:
        table: The table.
        folded: The cells of each column that may be folded.
    """
    spare = sum(max(0, max(map(len, names)) - _FOLDED_WIDTH) for names in folded)
    console = Console(markup=False, emoji=False, highlight=False)
    console.width = max(console.width, Console(width=10_000).measure(table).maximum - spare)
    console.print(table)


def note(text: str) -> None:
    """Print a sentence, folded to the terminal's width."""
    Console(markup=False, emoji=False, highlight=False).print(text)


def progress_bar(console: Console, *columns: str) -> Progress:
    """Return a progress bar with elapsed and remaining time, and extra text columns."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rounds"),
        *(TextColumn(column) for column in columns),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
