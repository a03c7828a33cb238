"""Fleets drawn from a network profile, and the times of given traffic on them.

The seed of a profile determines its randomness: links drawn from laws or rows, the class of each
client, random starts of traces, and jitter. The drawn fleets are the profile with consecutive
seeds; the cohorts remain those of the run. So two runs on one profile are timed on common fleets.

``FLEETS`` fleets are timed where a closed form holds, else ``SIMULATED_FLEETS``. All rounds of
each fleet are timed exactly if that draws jitter for, or simulates, at most ``MOST_DISPATCHES``
dispatches. Otherwise fleets are *probed*: the first rounds of each are timed exactly, and the ratio
of their duration to their nominal duration (closed form, without jitter and shared capacity, at
mean rates) scales the fleet's nominal times of all rounds.

Shapes: F fleets, R rounds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from floss_sim.analysis.round_times import Clock
from floss_sim.analysis.time_spread import MEDIAN, FleetTimes, TimeSpread, fleet_quantile
from floss_sim.analysis.traffic import Floats, Traffic
from floss_sim.network import NetworkProfile

FLEETS = 40  # fleets timed where a closed form holds
SIMULATED_FLEETS = 20  # fleets timed if rounds must be simulated
MOST_DISPATCHES = 20_000  # of all fleets together, timed exactly: 0.5 to 1.5 s of one core
MOST_DISPATCHES_OF_RUNS = 140_000  # of some runs together: 4 to 10 s of one core
LEAST_PROBED_ROUNDS = 2


@dataclass(frozen=True)
class Fleets:
    """Fleets drawn from a profile, and the fraction of them that must finish in time.

    Attributes:
        clocks: The clock of each fleet, that of the profile's own seed first.
        confidence: Fraction of fleets that must finish in time, for :meth:`closing_times`.
        most_dispatches: Dispatches of a run on all fleets together that are timed exactly if they
            must be simulated or have jitter; longer runs are probed.
    """

    clocks: tuple[Clock, ...]
    confidence: float = MEDIAN
    most_dispatches: int = MOST_DISPATCHES

    @classmethod
    def of(cls, profile: NetworkProfile, clients: int, confidence: float = MEDIAN) -> Fleets:
        """Return the fleets of a profile: first its own seed's, then those of other seeds.

        Only its own fleet is returned if the seed changes nothing.

        Args:
            profile: The network; dropout and availability must not be set.
            clients: Clients of the fleet.
            confidence: Fraction of fleets that must finish in time.
        """
        if not profile.draws:
            return cls((Clock(profile, clients),), confidence)
        seeds = range(profile.seed, profile.seed + FLEETS)
        drawn = (profile.model_copy(update={"seed": seed}) for seed in seeds)
        return cls(tuple(Clock(fleet, clients) for fleet in drawn), confidence)

    @property
    def is_drawn(self) -> bool:
        """Whether the profile draws its fleets, so that there are several."""
        return len(self.clocks) > 1

    def sharing(self, runs: int) -> Fleets:
        """Return the fleets that time some number of runs, which share what may be simulated."""
        most = min(self.most_dispatches, MOST_DISPATCHES_OF_RUNS // runs)
        return replace(self, most_dispatches=most)

    def closing_times(self, traffic: Traffic) -> Floats:
        """Return the instants by which rounds have closed in ``confidence`` of the fleets (R).

        Each round has its own quantile, by the convention of ``time_spread``.
        """
        return fleet_quantile(self.times(traffic).closed_at_s, self.confidence)

    def spread(self, traffic: Traffic, rounds: int | None = None) -> TimeSpread:
        """Return the spread of the time of given traffic.

        Args:
            traffic: The messages of the run.
            rounds: Number of the round that ends the run; by default the last one.
        """
        return self.times(traffic).at(rounds or traffic.shape[0])

    def times(self, traffic: Traffic) -> FleetTimes:
        """Return the instants at which the rounds of given traffic close on each fleet."""
        own, rounds, cohort = self.clocks[0], *traffic.shape
        steady = own.is_steady(traffic)
        drawn = self.clocks if steady else self.clocks[:SIMULATED_FLEETS]
        most = max(LEAST_PROBED_ROUNDS, self.most_dispatches // (len(drawn) * cohort))
        is_cheap = steady and not own.has_draws(traffic)
        if len(drawn) > 1 and not is_cheap and rounds > most:
            early = traffic.until(most)
            probed_FR = np.array([_probed_times(clock, traffic, early) for clock in drawn])
            return FleetTimes(probed_FR, "probed")
        closed_FR = np.array([clock.closing_times(traffic) for clock in drawn])
        return FleetTimes(closed_FR, "closed form" if steady else "simulated")


def _probed_times(clock: Clock, traffic: Traffic, early: Traffic) -> Floats:
    """Return the closing times (R): exact in the first rounds, ``early``, then scaled."""
    nominal_R, exact_R = clock.nominal_times(traffic), clock.closing_times(early)
    ratio = exact_R[-1] / nominal_R[len(exact_R) - 1]
    return np.concatenate([exact_R, nominal_R[len(exact_R) :] * ratio])
