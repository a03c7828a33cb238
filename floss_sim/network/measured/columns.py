"""Columns of speed tests: the download rate, the upload rate and the latency, found by name."""

from __future__ import annotations

import re
from collections.abc import Mapping

from floss_sim.errors import ProfileError
from floss_sim.network.measured.column_units import has_rate_unit, has_time_unit
from floss_sim.network.measured.csv_table import CsvTable
from floss_sim.network.text_lines import shown

ROLES: Mapping[str, frozenset[str]] = {
    "down": frozenset({"download", "down", "dl", "downlink", "downstream", "d"}),
    "up": frozenset({"upload", "up", "ul", "uplink", "upstream", "u"}),
    "latency": frozenset({"latency", "lat", "rtt", "ping"}),
}
# Abbreviations that are often something else (latitude, a date): only beside a unit of the role.
_WITH_UNIT: Mapping[str, str] = {"d": "down", "u": "up", "lat": "latency"}
_OTHER_QUANTITIES = frozenset({
    "jitter", "loss", "lost", "deviation", "stddev", "stdev", "std", "sd", "variance", "id",
    "ids", "count", "counts", "bytes", "size",
})  # fmt: skip
_LONGEST_NAME = 200  # characters of a name in which words and units are sought
_SHOWN_COLUMNS = 30
_DEGREES = frozenset({"latitude", "longitude", "deg", "degree", "degrees"})
_LONGITUDES = frozenset({"lon", "lng", "long", "longitude"})


def role_column(table: CsvTable, role: str, stated: str | None) -> str:
    """Return the column of a role: the column stated, or the only one whose name fits the role.

    Raises:
        ProfileError: The stated column does not exist or holds degrees, or no single column fits.
    """
    option = f"--{role}"
    has_longitude = any(_words(name) & _LONGITUDES for name in table.header)
    if stated is not None:
        table.place(stated, option)
        if role == "latency" and _is_angle(stated, has_longitude):
            raise ProfileError(f"column {shown(stated)!r} holds degrees, not a latency ({option})")
        return stated
    # Names with words of two roles do not count: "download_latency" is latency under load.
    found = [name for name in table.header if _roles(name, has_longitude) == {role}]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(shown(name) for name in found[:_SHOWN_COLUMNS])
        raise ProfileError(f"{table.path}: {role} could be {names}; choose one with {option}")
    raise ProfileError(
        f"{table.path}: no column name fits {role}; choose one with {option}: {table.columns()}"
    )


def _roles(column: str, has_longitude: bool) -> set[str]:
    """Return the roles (down, up, latency) whose words are in a column's name."""
    if len(column) > _LONGEST_NAME:
        return set()
    words = _words(column)
    if words & _OTHER_QUANTITIES and not has_rate_unit(column):
        return set()
    roles = {role for role, names in ROLES.items() if names & words}
    for word, role in _WITH_UNIT.items():
        if words & ROLES[role] == {word} and not _has_unit(column, role):
            roles -= {role}
    return roles - ({"latency"} if _is_angle(column, has_longitude) else set())


def _has_unit(column: str, role: str) -> bool:
    return has_time_unit(column) if role == "latency" else has_rate_unit(column)


def _is_angle(column: str, has_longitude: bool) -> bool:
    """Return whether a column holds degrees: by its name, or as ``lat`` beside a longitude."""
    words = _words(column)
    if words & _DEGREES or "°" in column or "º" in column:
        return True
    is_bare = words & ROLES["latency"] == {"lat"} and not has_time_unit(column)
    return is_bare and has_longitude


def _words(column: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", column)}
