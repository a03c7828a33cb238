"""Named changes of a network profile, for what-if studies.

The name of a changed profile lists its changes, such as ``"lte, up 10Mbit/s, upload ratio 4"``.
:func:`profile_of_name` builds the profile again from such a name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from floss_sim.errors import ProfileError, UnitError
from floss_sim.network.profile import (
    NetworkProfile,
    check_first_download,
    check_upload_ratio,
    load_profile,
)
from floss_sim.units import parse_bytes, parse_duration, parse_rate


def _ratio(text: object) -> float:
    ratio = _number(text, "16")
    check_upload_ratio(ratio)
    return ratio


def _factor(text: object) -> float:
    factor = _number(text, "4 or 0.5")
    check_scale(factor)
    return factor


def _number(text: object, examples: str) -> float:
    try:
        return float(str(text))
    except ValueError:
        raise ProfileError(f"{text!r} is not a number, such as {examples}") from None


def check_scale(factor: float) -> None:
    """Raise ProfileError if a factor of rates or of compute is out of range."""
    low, high = _FACTORS
    if not low <= factor <= high:
        raise ProfileError(f"factor {factor:g} is out of range; valid: {low:g} to {high:g}")


def with_scales(
    profile: NetworkProfile, down: float | None = None, up: float | None = None
) -> NetworkProfile:
    """Return a profile whose clients' rates are multiplied, with their spread and traces.

    Args:
        profile: The profile.
        down: Factor of all down rates; None keeps them.
        up: Factor of all up rates; None keeps them.

    Raises:
        ProfileError: A factor is out of range.

    Example:
        >>> from floss_sim import load_profile
        >>> from floss_sim.network.named_changes import with_scales
        >>> faster = with_scales(load_profile("paper-200-20"), up=4.0)
        >>> faster.name, faster.links(1)[0].up_bits_per_s
        ('paper-200-20, scale up 4', 80000000.0)
    """
    for name, factor in (("scale-down", down), ("scale-up", up)):
        if factor is not None:
            profile = with_change(profile, name, repr(float(factor)).removesuffix(".0"))
    return profile


def _first_download(text: object) -> int:
    nbytes = parse_bytes(text)
    check_first_download(nbytes)
    return nbytes


FRAMEWORK = "framework"  # name of the change to a deployment framework; its value is no number
_FACTORS = (1e-6, 1e6)  # lowest and highest factor of rates and of compute
# Changes are made in this order, so that an upload ratio applies to the changed down rate, and
# factors to rates and ratio.
CHANGES: Mapping[str, Callable[[object], float]] = {
    "down": parse_rate,
    "up": parse_rate,
    "rtt": parse_duration,
    "upload-ratio": _ratio,
    "scale-down": _factor,
    "scale-up": _factor,
    "scale-compute": _factor,
    "server-egress": parse_rate,
    "server-ingress": parse_rate,
    "first-download": _first_download,
}


def with_change(profile: NetworkProfile, name: str, text: str) -> NetworkProfile:
    """Return a profile with one named change, such as ``"rtt"`` and ``"50ms"``.

    Raises:
        ProfileError: Unknown name, or a value that is invalid in a profile.
        UnitError: A quantity without a known unit.
    """
    if name not in CHANGES and name != FRAMEWORK:
        raise ProfileError(f"unknown change {name!r}; valid: {', '.join((*CHANGES, FRAMEWORK))}")
    text = "".join(text.split())
    if name == FRAMEWORK:
        return profile.with_framework(text)
    try:
        value = CHANGES[name](text)
    except (ProfileError, UnitError) as error:
        raise type(error)(f"{name}: {error}") from None
    key = name.removeprefix("server-").replace("-", "_")
    return profile.with_changes(f"{name.replace('-', ' ')} {text}", **{key: value})


def with_changes(profile: NetworkProfile, changes: Mapping[str, str]) -> NetworkProfile:
    """Return a profile with several changes, made in the order of ``CHANGES``.

    Raises:
        ProfileError: Unknown name, a value that is invalid in a profile, or both ``up`` and
            ``upload-ratio``.
        UnitError: A quantity without a known unit.
    """
    if {"up", "upload-ratio"} <= changes.keys():
        raise ProfileError("'up' and 'upload-ratio' both set the up rates; give one of them")
    order = [*CHANGES, FRAMEWORK]
    for name in sorted(changes, key=lambda name: order.index(name) if name in order else -1):
        profile = with_change(profile, name, changes[name])
    return profile


def profile_of_name(name: str) -> NetworkProfile:
    """Return the profile of a name that :func:`with_change` wrote: packaged name, then changes.

    Raises:
        ProfileError: Unknown packaged profile, or unknown change.
    """
    base, *changes = name.split(", ")
    profile = load_profile(base)
    for change in changes:
        what, _, text = change.rpartition(" ")
        profile = with_change(profile, what.replace(" ", "-"), text)
    return profile
