"""Clock of a record: simulated, or measured by the server of a deployed run.

A measured record says so in its description, outside the trajectory: the same training has the same
fingerprint on either clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_KEY, _MEASURED = "clock", "measured"


def measured_clock(framework: str) -> dict[str, Any]:
    """Return the entry of a description that says that its seconds were measured.

    Args:
        framework: Name and version of the deployment framework.
    """
    return {_KEY: {"kind": _MEASURED, "framework": framework}}


def measured_by(description: Mapping[str, Any]) -> str | None:
    """Return the framework whose seconds a record has; None if they were simulated."""
    found = description.get(_KEY)
    if not isinstance(found, Mapping) or found.get("kind") != _MEASURED:
        return None
    return str(found.get("framework", "unknown"))


def without_clock(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return a description whose seconds are simulated."""
    return {key: value for key, value in description.items() if key != _KEY}
