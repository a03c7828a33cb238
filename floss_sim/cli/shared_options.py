"""Options that several commands share, and functions that parse and check their values."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from floss_sim.errors import ConfigError
from floss_sim.files import check_file
from floss_sim.network import NetworkProfile, load_profile
from floss_sim.network.frameworks.law import framework_names
from floss_sim.network.named_changes import with_change, with_scales
from floss_sim.toml_json import parse_toml
from floss_sim.training import DEVICES
from floss_sim.wire import VALUE_CODES

if TYPE_CHECKING:
    from floss_sim.tasks import Task

TaskOption = Annotated[str, typer.Option(help="Packaged task, or a path that ends in .toml.")]
DatasetOption = Annotated[
    str | None, typer.Option(help="Local data set or hub id that replaces the task's data set.")
]
BackboneOption = Annotated[
    str | None, typer.Option(help="Local folder or hub id that replaces the task's backbone.")
]
FetchOption = Annotated[
    bool, typer.Option("--fetch", help="Download files that the hub's local cache lacks.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any other key of the task, as SECTION.KEY=VALUE; repeatable."),
]
DoraOption = Annotated[
    bool, typer.Option("--dora", help="DoRA: a magnitude vector trains besides (lora.dora).")
]
NetworkOption = Annotated[
    str, typer.Option("--network", help="Packaged profile, or a path that ends in .toml.")
]
RatioOption = Annotated[
    float | None, typer.Option(help="Set every up rate to 1/RATIO of its down rate.")
]
ScaleDownOption = Annotated[
    float | None,
    typer.Option(help="Multiply every down rate: 0.5 is half as fast. The spread stays."),
]
ScaleUpOption = Annotated[
    float | None,
    typer.Option(help="Multiply every up rate: 4 is four times as fast. The spread stays."),
]
FrameworkOption = Annotated[
    str | None,
    typer.Option(
        help=f"Messages of a deployment framework, with its polls: {', '.join(framework_names())}."
    ),
]
BackboneDownloadOption = Annotated[
    bool,
    typer.Option("--include-backbone", help="Each client first downloads the backbone, once."),
]
SeedOption = Annotated[int, typer.Option(help="Seed of all random streams.")]
DeviceOption = Annotated[str, typer.Option(help=f"One of {', '.join(DEVICES)}.")]
ThreadsOption = Annotated[
    int, typer.Option(min=1, max=os.cpu_count() or 1, help="Number of torch threads.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def network(
    name: str,
    upload_ratio: float | None,
    scale_down: float | None = None,
    scale_up: float | None = None,
    framework: str | None = None,
) -> NetworkProfile:
    """Return a network profile; a given ``upload_ratio`` sets each up rate to down rate / ratio.

    The factors ``scale_down`` and ``scale_up`` then multiply the rates, and a framework has its
    messages and polls.

    Raises:
        ProfileError: The profile or the framework is unknown or invalid, the ratio is not above
            zero, or a factor is out of range.
    """
    profile = load_profile(name)
    if upload_ratio is not None:
        profile = profile.with_upload_ratio(upload_ratio)
    profile = with_scales(profile, scale_down, scale_up)
    return profile.with_framework(framework) if framework else profile


def with_backbone(profile: NetworkProfile, task: Task, include: bool) -> NetworkProfile:
    """Return a profile whose clients first download the task's backbone if ``include`` is true."""
    if not include:
        return profile
    return with_change(profile, "first-download", f"{task.backbone_bytes}B")


def parse_settings(items: Sequence[str] | None) -> dict[str, Any]:
    """Return keys and values of ``--set SECTION.KEY=VALUE``; a value is TOML or else plain text.

    Raises:
        ConfigError: An item has no key or no ``=``.
    """
    settings = {}
    for item in items or ():
        key, equals, text = item.partition("=")
        if not (key and equals):
            raise ConfigError(f"--set {item!r} is not SECTION.KEY=VALUE, such as data.limit=1000")
        try:
            settings[key] = parse_toml(f"value = {text}", f"--set {key}", ConfigError)["value"]
        except ConfigError:
            settings[key] = text
    return settings


def given_settings(**settings: Any) -> dict[str, Any]:
    """Return the settings that are not None, that is, those given by the user."""
    return {name: value for name, value in settings.items() if value is not None}


def check_target(target: float | None) -> None:
    """Raise ConfigError unless a target is None or an accuracy above 0 and up to 1."""
    if target is not None and not 0 < target <= 1:
        raise ConfigError(f"target {target:g} is outside (0, 1]; 0.9 is 90 %")


def check_value_code(option: str, name: str) -> None:
    """Raise ConfigError unless a name is the name of a value code."""
    if name not in VALUE_CODES:
        raise ConfigError(f"{option} {name!r} is unknown; valid: {', '.join(VALUE_CODES)}")


def check_picture(path: Path) -> None:
    """Raise ConfigError unless a path ends in .png."""
    if path.suffix != ".png":
        raise ConfigError(f"picture {str(path)!r} must end in .png")


def check_outputs(*paths: Path | None) -> None:
    """Check that all files of a command can be written, before it writes the first.

    Raises:
        ConfigError: Two paths are the same file.
        RecordError: A file cannot be written.
    """
    given = [path for path in paths if path is not None]
    if len({path.resolve() for path in given}) < len(given):
        raise ConfigError(f"{' and '.join(map(str, given))} are the same file")
    for path in given:
        check_file(path)
