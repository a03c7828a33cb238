"""Network: validated profiles, client links, and the simulated time that a payload takes."""

from floss_sim.network.availability import Availability, Presence
from floss_sim.network.flow.carrier import Carrier, Leg
from floss_sim.network.flow.pipe import EndOfInstant
from floss_sim.network.link import ClientLink
from floss_sim.network.profile import NetworkProfile, load_profile, packaged_profiles

__all__ = [
    "Availability",
    "Carrier",
    "ClientLink",
    "EndOfInstant",
    "Leg",
    "NetworkProfile",
    "Presence",
    "load_profile",
    "packaged_profiles",
]
