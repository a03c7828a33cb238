"""Network of a plan, loaded again from its origin, and networks that a page offers beside it."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from floss_sim.errors import ConfigError
from floss_sim.fingerprints import fingerprint
from floss_sim.network import NetworkProfile, load_profile
from floss_sim.network.named_changes import with_scales
from floss_sim.page.shown import ShownNetwork
from floss_sim.page.sliders import Settings
from planner.plans.elsewhere import NETWORKS
from planner.plans.plan import Plan
from planner.question.origin import Origin


@dataclass(frozen=True)
class PlanNetwork:
    """The network of a plan.

    Attributes:
        base: The profile as its name loads it.
        profile: The profile of the plan, with its changes.
        name: The name or path that loads it.
        settings: The changes, as places of sliders.
        framework: The deployment framework whose messages it has; None without one.
    """

    base: NetworkProfile
    profile: NetworkProfile
    name: str
    settings: Settings
    framework: str | None

    def shown(self, clients: int, folder: Path) -> list[ShownNetwork]:
        """Return the plan's network, then the packaged ones that a page offers beside it.

        Args:
            clients: Clients of the fleet.
            folder: Folder of the page, to which paths in commands are relative.
        """
        is_path = self.name.endswith(".toml")
        name = os.path.relpath(self.name, folder.resolve()) if is_path else self.name
        others = [other for other in NETWORKS if other != self.name]
        every = {name: self.base} | {other: self._offered(other) for other in others}
        return [
            ShownNetwork(one.name, one, self._words(name), clients) for name, one in every.items()
        ]

    def _offered(self, name: str) -> NetworkProfile:
        profile = load_profile(name)
        return profile.with_framework(self.framework) if self.framework else profile

    def _words(self, name: str) -> str:
        words = ["--network", name, *(["--framework", self.framework] if self.framework else [])]
        return shlex.join(words)


def plan_network(plan: Plan) -> PlanNetwork | None:
    """Return the network of a plan; None if it cannot be loaded, or has changed since."""
    given = plan.request.get("origin")
    if not given:
        return None
    origin = Origin.model_validate(given)
    try:
        base = load_profile(origin.network)
        profile = base
        if origin.upload_ratio is not None:
            profile = profile.with_upload_ratio(origin.upload_ratio)
        profile = with_scales(profile, origin.scale_down, origin.scale_up)
        if origin.framework:
            base, profile = (one.with_framework(origin.framework) for one in (base, profile))
    except ConfigError:
        return None
    if fingerprint(profile.settings()) != origin.marks.get("the network"):
        return None
    settings = Settings(
        origin.scale_down or 1.0, origin.scale_up or 1.0, origin.upload_ratio or 0.0
    )
    return PlanNetwork(base, profile, origin.network, settings, origin.framework)
