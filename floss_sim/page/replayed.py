"""Page of runs, given networks and changes as a command line names them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from floss_sim.analysis.comparison import Configuration
from floss_sim.analysis.what_if import Scenario
from floss_sim.network import NetworkProfile, load_profile
from floss_sim.network.named_changes import with_changes
from floss_sim.page.runs_page import NamedNetwork, RunsPage
from floss_sim.page.sliders import Settings
from floss_sim.units import parse_duration

_MOVED = ("scale-down", "scale-up", "upload-ratio", "rtt", "scale-compute")  # changes by sliders


def page_of_runs(
    task: str,
    lines: Sequence[Scenario],
    notes: Sequence[str],
    names: Iterable[str],
    changes: Mapping[str, str],
    folder: Path,
) -> RunsPage:
    """Return the page of recorded runs.

    Args:
        task: Name of their task.
        lines: The configurations, each on its networks.
        notes: Sentences on the runs.
        names: Packaged names or paths of networks; without any, those of the records.
        changes: Named changes of all these networks, as texts.
        folder: Folder of the page, to which paths in commands are relative.
    """
    kept = {name: text for name, text in changes.items() if name not in _MOVED}
    given = [_named(name, folder) for name in names]
    known = given or _recorded([line.configuration for line in lines])
    networks = [NamedNetwork(with_changes(one.profile, kept), one.words) for one in known]
    fixed = shlex.join(word for name, text in kept.items() for word in (f"--{name}", text))
    return RunsPage(task, lines, notes, networks, _settings(changes), fixed, folder)


def _settings(changes: Mapping[str, str]) -> Settings:
    rtt = changes.get("rtt")
    return Settings(
        down=float(changes.get("scale-down", 1)),
        up=float(changes.get("scale-up", 1)),
        ratio=float(changes.get("upload-ratio", 0)),
        rtt_s=None if rtt is None else parse_duration(rtt),
        compute=float(changes.get("scale-compute", 1)),
    )


def _named(name: str, folder: Path) -> NamedNetwork:
    is_path = name.endswith(".toml")
    near = os.path.relpath(Path(name).resolve(), folder.resolve()) if is_path else name
    return NamedNetwork(load_profile(name), f"--network {shlex.quote(near)}")


def _recorded(configurations: Iterable[Configuration]) -> list[NamedNetwork]:
    """Return the network on which all runs were recorded; none if it is unknown or not the same."""
    runs = [run for one in configurations for run in one.runs]
    timings = {run.folder.manifest().timing for run in runs}
    profiles: list[NetworkProfile] = [run.profile for run in runs if run.profile]
    if len(timings) != 1 or len(profiles) != len(runs):
        return []
    return [NamedNetwork(profiles[0], "")]
