"""Times of a plan's runs on other packaged networks, re-timed from their recorded messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from floss_sim.analysis.drawn_fleets import Fleets
from floss_sim.analysis.traffic import Traffic
from floss_sim.network import NetworkProfile, load_profile
from planner.plans.elsewhere import NETWORKS, TimesElsewhere


def times_elsewhere(
    runs: Mapping[str, Traffic], asked: NetworkProfile, clients: int
) -> Iterator[TimesElsewhere]:
    """Yield the times of runs on each packaged network but the one that was asked for.

    Args:
        runs: The messages of each run, by its key.
        asked: The plan's network; its first download counts elsewhere, too.
        clients: Clients of the fleet.
    """
    for name in NETWORKS:
        if name != asked.name:
            profile = load_profile(name).model_copy(update={"first_download": asked.first_download})
            fleets = Fleets.of(profile, clients)
            yield TimesElsewhere(name, {key: fleets.spread(t) for key, t in runs.items()})
