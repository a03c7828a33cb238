"""The network: profiles (inert, validated) and the law by which a payload takes time."""

from floss_sim.network.link import ClientLink, transfer
from floss_sim.network.profile import NetworkProfile, load_profile, packaged_profiles

__all__ = ["ClientLink", "NetworkProfile", "load_profile", "packaged_profiles", "transfer"]
