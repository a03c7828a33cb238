"""Network on which a run was recorded: a packaged profile, or one that its folder keeps."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from floss_sim.errors import ConfigError, ProfileError, RecordError
from floss_sim.network import NetworkProfile
from floss_sim.network.kept_profile import profile_of_text, profile_text
from floss_sim.network.named_changes import profile_of_name
from floss_sim.records import RunFolder
from floss_sim.records.file_names import NETWORK
from floss_sim.records.network_file import MOST_BYTES
from floss_sim.runs.conditions import timing_of
from floss_sim.simulator import wait_all


def find_recorded_network(
    folder: RunFolder, others: Iterable[NetworkProfile] = ()
) -> NetworkProfile | None:
    """Return the network on which a run was recorded, or None if it is not known.

    Args:
        folder: The run.
        others: Networks that may be the recorded one, beside the packaged ones and the kept one.

    Raises:
        RecordError: The network that the folder keeps is damaged.
    """
    try:
        packaged = [profile_of_name(folder.manifest().network)]
    except ConfigError:
        packaged = []
    known = (profile for profile in (*packaged, *others) if is_timed_on(folder, profile))
    return next(known, None) or _kept(folder)


def is_timed_on(folder: RunFolder, profile: NetworkProfile) -> bool:
    """Return whether a run's recorded seconds were simulated on a network."""
    conditions = folder.description["trajectory"].get("conditions", {})
    policy = {"policy": conditions.get("policy", wait_all().settings()["policy"])}
    return folder.manifest().timing == timing_of(profile, policy)


def _kept(folder: RunFolder) -> NetworkProfile | None:
    """Return the network that a folder keeps; None if there is none, or it is of other seconds."""
    text = folder.kept_network()
    profile = _profile(text, folder.path / NETWORK) if text is not None else None
    return profile if profile and is_timed_on(folder, profile) else None


@lru_cache(maxsize=8)
def _cached_profile(text: str) -> NetworkProfile:
    return profile_of_text(text, "its text")


def _profile(text: str, path: Path) -> NetworkProfile:
    try:
        return _cached_profile(text)
    except ProfileError as error:
        raise RecordError(f"{path} is damaged ({error}); remove this file") from None


def keep_network(folder: RunFolder, profile: NetworkProfile) -> str | None:
    """Store the network of a run in its folder, unless it is a packaged one.

    The caller must hold the folder's lock.

    Returns:
        Why the network is not stored, or None.

    Raises:
        RecordError: The file cannot be written.
    """
    text = None if _is_packaged(profile) else profile_text(profile)
    too_large = text is not None and len(text) > MOST_BYTES
    folder.keep_network(None if too_large else text)
    if not too_large:
        return None
    return (
        f"{profile.name} is too large to be kept with the record (more than "
        f"{MOST_BYTES // 10**6} MB); floss-sim compare shows its times over fleets with --network"
    )


def _is_packaged(profile: NetworkProfile) -> bool:
    try:
        return profile_of_name(profile.name) == profile
    except ConfigError:
        return False


def unknown_reason(network: str) -> str:
    """Return the reason, in words, that the network of a run is not known."""
    try:
        profile_of_name(network)
    except ConfigError:
        return f"{network} is neither packaged nor kept in the record"
    return f"the run was recorded on a {network} that differs from the packaged one"
