"""Crossovers: values of a network property at which another configuration becomes the fastest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from floss_sim.analysis.comparison import Configuration
from floss_sim.analysis.time_spread import TimeSpread
from floss_sim.analysis.what_if import scenario
from floss_sim.errors import ConfigError
from floss_sim.network import NetworkProfile
from floss_sim.network.named_changes import CHANGES, with_changes

MAX_VALUES = 100  # of a sweep; each times all runs again


@dataclass(frozen=True)
class Sweep:
    """A named change of a network, and its values as texts in the order of the sweep."""

    name: str
    values: tuple[str, ...]


def parse_sweep(text: str) -> Sweep:
    """Return the sweep of a text such as ``"upload-ratio=1,4,16"``.

    Raises:
        ConfigError: The name is unknown, a value is empty, or there are more than ``MAX_VALUES``.
    """
    name, _, values = text.partition("=")
    if name not in CHANGES:
        raise ConfigError(f"cannot sweep {name!r}; valid: {', '.join(CHANGES)}")
    found = tuple(dict.fromkeys(value.strip() for value in values.split(",")))
    if "" in found:
        raise ConfigError(f"sweep {text!r} lacks a value; valid: NAME=VALUE,VALUE,...")
    if len(found) > MAX_VALUES:
        raise ConfigError(f"a sweep of {len(found)} values; valid: at most {MAX_VALUES}")
    return Sweep(name, found)


@dataclass(frozen=True)
class Crossover:
    """Simulated time to a target accuracy on one network, for each value of a sweep.

    Attributes:
        network: Name of the network that is changed.
        sweep: The swept property and its values.
        target: The target validation accuracy, 0 to 1.
        labels: Labels of the configurations.
        times: Time to the target over fleets, one row for each value and one column for each
            configuration; None where the target is not reached.
        traffic_alone: Whether the network has no round trip and no compute at any value.
        nbytes: Encoded bytes of all clients to the target, mean of seeds, in the rows and columns
            of ``times``; empty if they are not told.
    """

    network: str
    sweep: Sweep
    target: float
    labels: tuple[str, ...]
    times: tuple[tuple[TimeSpread | None, ...], ...]
    traffic_alone: bool = False
    nbytes: tuple[tuple[float | None, ...], ...] = ()

    @property
    def seconds(self) -> list[list[float | None]]:
        """The median seconds over fleets, in the rows and columns of ``times``."""
        return [[time.median_s if time else None for time in row] for row in self.times]

    def sureness(self) -> list[float | None]:
        """Return the fraction of fleets on which the fastest is faster than the second, by value.

        The two are those of the lowest medians. None where fewer than two configurations reach the
        target, or where the network draws nothing.
        """
        return [self._row_sureness(row) for row in self.times]

    def _row_sureness(self, row: Sequence[TimeSpread | None]) -> float | None:
        reached = sorted((time for time in row if time), key=lambda time: time.median_s)
        if len(reached) < 2 or reached[0].draws == 1:
            return None
        return reached[0].fraction_faster(reached[1])

    def winners(self) -> list[tuple[str, ...]]:
        """Return the fastest configurations at each value; empty where none reaches the target.

        The fastest have the lowest median.
        """
        return [self._row_winners(row) for row in self.seconds]

    def _row_winners(self, row: Sequence[float | None]) -> tuple[str, ...]:
        least = min((seconds for seconds in row if seconds is not None), default=None)
        if least is None:
            return ()
        return tuple(label for label, s in zip(self.labels, row, strict=True) if s == least)

    def verdict(self) -> str:
        """Return one line with the values between which the fastest configuration changes."""
        winners = self.winners()
        if not winners[0]:
            return f"no configuration reaches {self.target:g}"
        rows = zip(self.sweep.values, winners, strict=True)
        changes = [
            f"from {' = '.join(before)} to {' = '.join(after)} between {self.sweep.name} "
            f"{low} and {high}"
            for (low, before), (high, after) in pairwise(rows)
            if before != after
        ]
        if changes:
            return f"the fastest changes {'; '.join(changes)}"
        return f"{' = '.join(winners[0])} is the fastest at every value"


def common_target(configurations: Sequence[Configuration]) -> float:
    """Return the highest accuracy that every configuration reaches."""
    return min(max(p.accuracy for p in one.points) for one in configurations)


def crossover(
    configurations: Sequence[Configuration],
    profile: NetworkProfile,
    sweep: Sweep,
    target: float,
    changes: Mapping[str, str],
) -> Crossover:
    """Return the time that configurations need to a target, for each value of a sweep.

    Args:
        configurations: The configurations to re-time.
        profile: The network before all changes.
        sweep: The swept property of the network and its values.
        target: The target validation accuracy, 0 to 1.
        changes: Other changes of the network by name, applied at every value of the sweep.

    Raises:
        ConfigError: The sweep's name is also in ``changes``, or a value cannot be parsed.
    """
    if sweep.name in changes:
        raise ConfigError(f"{sweep.name!r} is both swept and set; give one of them")
    networks = [with_changes(profile, {**changes, sweep.name: value}) for value in sweep.values]
    points = [
        [scenario(one, network).configuration.target_point(target) for one in configurations]
        for network in networks
    ]
    times = tuple(tuple(point.time if point else None for point in row) for row in points)
    nbytes = tuple(tuple(point.total_bytes if point else None for point in row) for row in points)
    labels = tuple(configuration.label for configuration in configurations)
    alone = all(network.is_traffic_alone for network in networks)
    name = with_changes(profile, changes).name
    return Crossover(name, sweep, target, labels, times, alone, nbytes)
