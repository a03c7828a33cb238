"""Named changes of a network profile: what a what-if study varies.

A changed profile is named after its changes, such as ``"lte, up 10Mbit/s, upload ratio 4"``;
:func:`named` reads such a name back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from floss_sim.errors import ProfileError, UnitError
from floss_sim.network import NetworkProfile, load_profile
from floss_sim.units import parse_duration, parse_rate

Change = Callable[[NetworkProfile, str], NetworkProfile]


def _each_client(field: str, parse: Callable[[object], float]) -> Change:
    """Return the change that gives every client class the same value of a field."""

    def change(profile: NetworkProfile, text: str) -> NetworkProfile:
        value = parse(text)
        groups = (group.model_copy(update={field: value}) for group in profile.clients)
        return profile.model_copy(update={"clients": tuple(groups)})

    return change


def _upload_ratio(profile: NetworkProfile, text: str) -> NetworkProfile:
    try:
        return profile.with_upload_ratio(float(text))
    except ValueError:
        raise ProfileError(f"{text!r} is not a number, such as 16") from None


# In this order they are made: an upload ratio follows the down rate that was asked for.
CHANGES: Mapping[str, Change] = {
    "down": _each_client("down", parse_rate),
    "up": _each_client("up", parse_rate),
    "rtt": _each_client("rtt", parse_duration),
    "upload-ratio": _upload_ratio,
}


def changed(profile: NetworkProfile, name: str, text: str) -> NetworkProfile:
    """Return a profile with one named change, such as ``"rtt"`` and ``"50ms"``.

    Raises:
        ProfileError: Unknown name, or a value that no profile could have.
        UnitError: A quantity without a known unit.
    """
    if name not in CHANGES:
        raise ProfileError(f"a network has no {name!r} to change; valid: {', '.join(CHANGES)}")
    text = "".join(text.split())
    try:
        after = CHANGES[name](profile, text)
    except (ProfileError, UnitError) as error:
        raise type(error)(f"{name}: {error}") from None
    said = f"{profile.name}, {name.replace('-', ' ')} {text}"
    return after.model_copy(update={"name": said})


def all_changed(profile: NetworkProfile, changes: Mapping[str, str]) -> NetworkProfile:
    """Return a profile with several changes, made in the order of ``CHANGES``.

    Raises:
        ProfileError: As :func:`changed`, or two changes that set the same rates.
        UnitError: A quantity without a known unit.
    """
    if {"up", "upload-ratio"} <= changes.keys():
        raise ProfileError("'up' and 'upload-ratio' both set the up rates; give one of them")
    order = list(CHANGES)
    for name in sorted(changes, key=lambda name: order.index(name) if name in order else -1):
        profile = changed(profile, name, changes[name])
    return profile


def named(name: str) -> NetworkProfile:
    """Return the profile of a packaged name with its changes, as :func:`changed` writes it.

    Raises:
        ProfileError: No packaged profile, or no such change.
    """
    base, *changes = name.split(", ")
    profile = load_profile(base)
    for change in changes:
        what, _, text = change.rpartition(" ")
        profile = changed(profile, what.replace(" ", "-"), text)
    return profile
