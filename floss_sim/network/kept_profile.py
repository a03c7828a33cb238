"""Network profile as one text that needs no other file: its keys, rows and traces by value.

A run folder keeps the network of its record as such a text. Quantities are plain numbers in the
units of the code, exact to the bit, so that the profile that is built again is equal to the kept
one. Paths of files of rows and traces stay as names; an absolute one is replaced by a mark and the
name of the file, so that no text names a place of the machine.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from floss_sim import documents
from floss_sim.errors import ProfileError
from floss_sim.fingerprints import fingerprint
from floss_sim.network.devices.compute import KEPT_DEVICES, ComputeSection
from floss_sim.network.fleets.classes import KEPT_TRACES, TraceSection
from floss_sim.network.fleets.laws import KEPT_ROWS, RowsFleet
from floss_sim.network.fleets.rows import rows_csv
from floss_sim.network.profile import NetworkProfile, Overrides

_PROFILE, _CHANGES, _ROWS, _TRACES = "profile", "changes", "rows", "traces"
_DEVICES = "devices"
_FILE, _DEVICE = "file", "device"  # keys of a path; a device may be one, too


def profile_text(profile: NetworkProfile) -> str:
    """Return a profile as JSON that holds all of it.

    Example:
        >>> from floss_sim import load_profile
        >>> from floss_sim.network.kept_profile import profile_of_text, profile_text
        >>> slow = load_profile("lte").with_upload_ratio(16)
        >>> profile_of_text(profile_text(slow), "a text") == slow
        True
    """
    kept: dict[str, Any] = {
        _PROFILE: _placeless(profile.model_dump(mode="json", exclude_defaults=True)),
        _CHANGES: profile.changes.model_dump(mode="json", exclude_defaults=True),
        _TRACES: _traces(profile),
    }
    if isinstance(profile.fleet, RowsFleet):
        kept[_ROWS] = rows_csv(profile.fleet.rows)
    if devices := _devices(profile):
        kept[_DEVICES] = devices
    return json.dumps(kept, indent=1) + "\n"


def _traces(profile: NetworkProfile) -> dict[str, Any]:
    """Return the values of all traces of a profile, by key."""
    sections = [each for group in profile.clients for each in (group.down_trace, group.up_trace)]
    return {_named(section).key: asdict(section.rates) for section in sections if section}


def _devices(profile: NetworkProfile) -> dict[str, Any]:
    """Return the speeds of all device classes of a profile, by name as it is kept."""
    sections: list[ComputeSection | None] = [group.compute for group in profile.clients]
    if profile.fleet:
        sections.append(profile.fleet.compute)
    found = (section for section in sections if section and section.device is not None)
    return {_placeless(one.device, _DEVICE): one.speed.settings() for one in found}


def _named(section: TraceSection) -> TraceSection:
    """Return a trace's section with its file as it is kept."""
    return section.model_copy(update={_FILE: _placeless(section.file, _FILE)})


def _placeless(value: Any, key: str = "") -> Any:
    """Return plain values with every absolute path of a file replaced by a mark and its name."""
    if isinstance(value, dict):
        return {name: _placeless(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_placeless(inner) for inner in value]
    if key in (_FILE, _DEVICE) and Path(value).is_absolute():
        return f"{fingerprint(value)[:8]}-{Path(value).name}"
    return value


def profile_of_text(text: str, where: str) -> NetworkProfile:
    """Return the profile of a text that :func:`profile_text` wrote.

    Args:
        text: The text.
        where: Name of the text in an error message.

    Raises:
        ProfileError: The text is not that of a valid profile.
    """
    try:
        kept = json.loads(text)
        content, changes = dict(kept[_PROFILE]), kept[_CHANGES]
        context = {
            documents.PLAIN_NUMBERS: True,
            KEPT_TRACES: dict(kept[_TRACES]),
            KEPT_DEVICES: dict(kept.get(_DEVICES, {})),
        }
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ProfileError(f"{where} holds no network profile") from None
    context[KEPT_ROWS] = str(kept.get(_ROWS, ""))
    made = documents.validate(content, NetworkProfile, ProfileError, where, Path(), context)
    return made.with_overrides(documents.validate(changes, Overrides, ProfileError, where))
