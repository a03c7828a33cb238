"""Options that commands share, and what is typed in them turned into values."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from floss_sim.errors import ConfigError
from floss_sim.network import NetworkProfile, load_profile
from floss_sim.network.named_changes import with_change
from floss_sim.tasks import Task
from floss_sim.training import DEVICES
from floss_sim.wire import VALUE_CODES

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
    return with_change(profile, "first-download", f"{task.backbone_bytes}B")


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


def given_settings(**settings: Any) -> dict[str, Any]:
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
