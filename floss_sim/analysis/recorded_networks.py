"""Network on which a run was recorded, where it is a packaged profile."""

from __future__ import annotations

from floss_sim.errors import ConfigError
from floss_sim.network import NetworkProfile
from floss_sim.network.named_changes import profile_of_name
from floss_sim.records import RunFolder
from floss_sim.runs.conditions import timing_of
from floss_sim.simulator import wait_all


def find_recorded_network(folder: RunFolder) -> NetworkProfile | None:
    """Return the packaged network on which a run was recorded, or None for another network."""
    try:
        profile = profile_of_name(folder.manifest().network)
    except ConfigError:
        return None
    return profile if is_timed_on(folder, profile) else None


def is_timed_on(folder: RunFolder, profile: NetworkProfile) -> bool:
    """Return whether a run's recorded seconds were simulated on a network."""
    conditions = folder.description["trajectory"].get("conditions", {})
    policy = {"policy": conditions.get("policy", wait_all().settings()["policy"])}
    return folder.manifest().timing == timing_of(profile, policy)


def unknown_reason(network: str) -> str:
    """Return the reason, in words, that the network of a run is not known."""
    try:
        profile_of_name(network)
    except ConfigError:
        return f"{network} is not packaged"
    return f"the run was recorded on a {network} that differs from the packaged one"
