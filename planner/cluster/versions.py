"""Versions that the owner of a store and its workers must share."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version

from floss_sim.runs.config import CODE_SCHEMA, installed_versions


def versions() -> dict[str, str]:
    """Return the versions here of all that can change results, by name."""
    schema = {"floss-sim": version("floss-sim"), "code schema": str(CODE_SCHEMA)}
    return {**schema, **{name: str(found) for name, found in installed_versions().items()}}


def version_problem(wanted: Mapping[str, str]) -> str:
    """Return which versions here differ from others, both named; empty if none does.

    Args:
        wanted: Versions of the owner of the store.
    """
    found = versions()
    differing = sorted(k for k in {*found, *wanted} if found.get(k) != wanted.get(k))
    if not differing:
        return ""
    told = ", ".join(
        f"{name} {found.get(name, 'none')} on the worker and {wanted.get(name, 'none')} here"
        for name in differing
    )
    return f"versions differ: {told}; install the same ones"
