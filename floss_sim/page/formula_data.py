"""Data of the formula of a page, as JSON values and packed arrays.

Shapes: F fleets, N clients that take part in any run, R rounds, C clients of a round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from floss_sim.analysis.compute_times import compute_seconds
from floss_sim.analysis.round_times import Clock, unique_sizes
from floss_sim.analysis.traffic import Floats, Ints, Traffic
from floss_sim.network import ClientLink, NetworkProfile
from floss_sim.network.devices.local_work import LocalWork
from floss_sim.network.transport import IDEAL
from floss_sim.page.packed_arrays import PackedArrays
from floss_sim.page.shown import Choice, ShownConfiguration, ShownNetwork, Slider, examples_of


@dataclass
class FormulaData:
    """Data of a page's formula; arrays are added while it is made.

    Attributes:
        networks: Networks that are served.
        configurations: Configurations on them.
        choice: The budget and the rule.
        fixed: Further words of the command.
        arrays: The arrays of the page.
    """

    networks: Sequence[ShownNetwork]
    configurations: Sequence[ShownConfiguration]
    choice: Choice
    fixed: str = ""
    arrays: PackedArrays = field(default_factory=PackedArrays)
    _computed: dict[Any, Floats] = field(default_factory=dict)

    @cached_property
    def numbers(self) -> Ints:
        """Numbers of the clients that take part in any run (N)."""
        parts = [run.clients.ravel() for one in self.configurations for run in one.runs]
        if self.choice.dense:
            parts.append(self.choice.dense[1].ravel())
        return np.unique(np.concatenate(parts))

    def to_json(self, sliders: Mapping[str, Slider]) -> dict[str, Any]:
        """Return what the script needs, besides the arrays."""
        order = sorted(self.configurations, key=lambda one: -one.rounds)  # the longest are stored
        made = {id(one): self._configuration(one) for one in order}
        return {
            "command": "floss-sim replay",
            "fixed": self.fixed,
            "networks": [self._network(k, one) for k, one in enumerate(self.networks)],
            "configs": [made[id(one)] for one in self.configurations],
            "budget": self._budget(),
            "rule": {"tie": self.choice.tie, "half": self.choice.half},
            "cap": self.choice.cap,
            "target": self.choice.target,
            "mostRoundSeconds": self.choice.most_round_s,
            "schedule": list(self.choice.schedule),
            "sliders": {name: one.to_json() for name, one in sliders.items()},
        }

    def _places(self, clients: Ints) -> int:
        return self.arrays.add(np.searchsorted(self.numbers, clients).ravel())

    def _network(self, number: int, network: ShownNetwork) -> dict[str, Any]:
        links_FN = [self._links(clock) for clock in network.clocks]
        losses = self._losses(network)

        def values(name: str) -> int:
            every = [getattr(link, name) for links in links_FN for link in links]
            return self.arrays.add(np.array(every, dtype=np.float64))

        kinds = [losses.index(link.loss) for links in links_FN for link in links]
        transport = network.profile.transport
        return {
            "number": number,
            "title": network.title,
            "clients": len(self.numbers),
            "fleets": len(links_FN),
            "down": values("down_bits_per_s"),
            "up": values("up_bits_per_s"),
            "rtt": values("rtt_s"),
            "loss": self.arrays.add(np.array(kinds)) if len(losses) > 1 else None,
            "losses": losses,
            "transport": {
                "setup_rtts": transport.setup_rtts,
                "segment_bits": transport.segment_bits,
                "window_bits": transport.initial_window * transport.segment_bits
                if transport.slow_start
                else 0,
            },
        }

    def _links(self, clock: Clock) -> list[ClientLink]:
        return [clock.link(number) for number in self.numbers.tolist()]

    def _losses(self, network: ShownNetwork) -> list[float]:
        return sorted({link.loss for clock in network.clocks for link in self._links(clock)})

    def _configuration(self, one: ShownConfiguration) -> dict[str, Any]:
        add = self.arrays.add
        evaluated = np.array(one.evaluated, dtype=np.int64)
        return {
            "label": one.label,
            "command": one.command,
            "rounds": one.rounds,
            "runs": [self._run(run, one.first_bytes) for run in one.runs],
            "evaluated": add(evaluated),
            "figures": [add(np.array(figure, dtype=np.float64)) for figure in one.figures],
            "peak": add(np.array(one.peaks, dtype=np.int64)) if one.peaks else None,
            "most": one.most,
            "baseline": one.is_baseline,
            "named": one.is_named,
            "spent": [add(np.asarray(spent_R, dtype=np.float64)) for spent_R in one.spent],
        }

    def _run(self, run: Traffic, recorded_first: int) -> dict[str, Any]:
        rounds, cohort = run.shape
        return {
            "clients": self._places(run.clients),
            "down": self.arrays.add(run.down.ravel()),
            "up": self.arrays.add(run.up.ravel()),
            "rounds": rounds,
            "cohort": cohort,
            "on": [self._run_on(network, run, recorded_first) for network in self.networks],
        }

    def _run_on(self, network: ShownNetwork, run: Traffic, recorded_first: int) -> dict[str, Any]:
        losses, profile = self._losses(network), network.profile
        first = profile.first_download or recorded_first
        made: dict[str, Any] = {
            way: [self.arrays.add(_wire(profile, nbytes, loss)) for loss in losses]
            for way, nbytes in (("down", run.down.ravel()), ("up", run.up.ravel()))
        }
        wire = [profile.transport.wire_bytes(first, loss) for loss in losses]
        compute_FN = self._compute_s(network, run)
        return {
            **made,
            "first": {"bytes": first, "wire": wire} if first else None,
            "compute": self.arrays.add(compute_FN.ravel()) if compute_FN.any() else None,
        }

    def _compute_s(self, network: ShownNetwork, run: Traffic) -> Floats:
        """Return the seconds of training of every client on every fleet (F x N)."""
        examples_N = np.zeros(len(self.numbers), dtype=np.int64)
        examples_N[np.searchsorted(self.numbers, run.participants[0])] = examples_of(run)
        key = (network.title, examples_N.tobytes(), run.work)
        if key not in self._computed:
            self._computed[key] = self._compute_of(network, examples_N, run.work)
        return self._computed[key]

    def _compute_of(
        self, network: ShownNetwork, examples_N: Ints, work: LocalWork | None
    ) -> Floats:
        none = np.zeros((1, len(self.numbers)), dtype=np.int64)
        once = Traffic(self.numbers[None], none, none, none, examples_N[None], work)
        place = np.arange(len(self.numbers))[None]
        clocks = network.clocks
        return np.array([compute_seconds(once, self._links(c), place)[0] for c in clocks])

    def _budget(self) -> dict[str, Any]:
        choice = self.choice
        made: dict[str, Any] = {"kind": choice.kind, "share": choice.share}
        if choice.dense is None:
            return {**made, "amount": choice.amount, "dense": None}
        rounds, clients_RC, nbytes = choice.dense
        first = [one.profile.first_download for one in self.networks]
        return {
            **made,
            "dense": {
                "rounds": rounds,
                "cohort": clients_RC.shape[1],
                "clients": self._places(clients_RC),
                "bytes": nbytes,
                "first": [{"bytes": one} if one else None for one in first],
            },
        }


def _wire(profile: NetworkProfile, nbytes: NDArray[np.int64], loss: float) -> Ints:
    """Return the bytes of messages on the link, without set-up of connections."""
    if profile.transport == IDEAL and not loss:
        return nbytes
    sizes, place = unique_sizes(nbytes)
    wire = [profile.transport.wire_bytes(size, loss) for size in sizes.tolist()]
    return np.array(wire, dtype=np.int64)[place]
