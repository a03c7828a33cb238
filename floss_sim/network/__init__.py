"""The network: profiles (inert, validated), links, and the laws by which a payload takes time."""

from floss_sim.network.availability import Availability, Presence
from floss_sim.network.link import ClientLink
from floss_sim.network.pipe import Instant
from floss_sim.network.profile import NetworkProfile, load_profile, packaged_profiles
from floss_sim.network.wires import Leg, Wires

__all__ = [
    "Availability",
    "ClientLink",
    "Instant",
    "Leg",
    "NetworkProfile",
    "Presence",
    "Wires",
    "load_profile",
    "packaged_profiles",
]
