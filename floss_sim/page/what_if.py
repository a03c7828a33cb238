"""What the formula of a page needs: networks, configurations, budget and sliders, as numbers.

The script applies the closed form of :mod:`floss_sim.analysis.round_times`. A network is served
where that holds and no client has jitter; of another one :func:`unserved_reason` says why.

Shapes: F fleets, N clients that take part in any run, R rounds, C clients of a round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from floss_sim.analysis.compute_times import compute_seconds
from floss_sim.analysis.drawn_fleets import Fleets
from floss_sim.analysis.round_times import Clock, unique_sizes
from floss_sim.analysis.traffic import Floats, Ints, Traffic
from floss_sim.network import ClientLink, NetworkProfile
from floss_sim.network.devices.local_work import LocalWork
from floss_sim.network.transport import IDEAL
from floss_sim.page import texts
from floss_sim.page.packed_arrays import PackedArrays

MOST_LINKS = 50_000  # clients of all fleets together; each takes 24 bytes before compression
_MOST_LOSSES = 4  # different losses of a network's clients


@dataclass(frozen=True)
class ShownNetwork:
    """A network whose links the sliders change.

    Attributes:
        title: Its name, as the page shows it.
        profile: The network without the changes that sliders make.
        words: Words of a command line that choose it.
        clients: Clients of the fleet.
    """

    title: str
    profile: NetworkProfile
    words: str
    clients: int

    @cached_property
    def clocks(self) -> tuple[Clock, ...]:
        """A clock for each fleet that the network may draw."""
        return Fleets.of(self.profile, self.clients).clocks


@dataclass(frozen=True)
class ShownConfiguration:
    """A configuration whose times and accuracy follow the sliders.

    Attributes:
        label: Its name, as the page shows it.
        runs: Messages of its runs, which differ in the seed, without first downloads.
        first_bytes: Bytes that each client downloads once, in the records.
        evaluated: Rounds that all runs have evaluated.
        figures: Expected accuracy, its lower and upper end, and bytes so far, at these rounds.
        command: Words of a command line that name its run folders.
        peaks: At each of these rounds the place of the round at which a run up to there should
            end; empty if it is always the last one.
        most: Rounds that a limit besides the budget allows.
        is_baseline: Whether it counts as trained to its end.
        is_named: Whether commands and tables always have it.
        spent: Amount of the budget that is spent after each round (R), by network, where that does
            not follow from rates; else empty.
    """

    label: str
    runs: tuple[Traffic, ...]
    first_bytes: int
    evaluated: Sequence[int]
    figures: tuple[Sequence[float], Sequence[float], Sequence[float], Sequence[float]]
    command: str
    peaks: Sequence[int] = ()
    most: int = 2**31
    is_baseline: bool = False
    is_named: bool = False
    spent: Sequence[Floats] = ()

    @property
    def rounds(self) -> int:
        """Number of rounds that all runs have."""
        return min(run.shape[0] for run in self.runs)


@dataclass(frozen=True)
class Slider:
    """A slider: values, their texts, and the words of a command line that set them."""

    label: str
    values: Sequence[Any]
    told: Sequence[str]
    words: Sequence[str]
    at: int

    def to_json(self) -> dict[str, Any]:
        """Return what the script needs."""
        made = {"values": self.values, "told": self.told, "words": self.words}
        return {"label": self.label, **{name: list(given) for name, given in made.items()}}


@dataclass(frozen=True)
class Choice:
    """Budget and rule by which the best configuration is chosen.

    Attributes:
        kind: ``"link"`` (dense rounds), ``"seconds"``, or ``"fixed"`` (what rates do not change).
        amount: The budget's amount; not used for dense rounds.
        share: Share of fleets that must keep to a budget of seconds.
        tie: Margin of a tie in widths of an interval.
        half: Accuracy that counts as much as halving the bytes.
        cap: Most rounds of a run.
        schedule: Rounds at which further training would be evaluated; empty if nothing trains on.
        dense: Dense rounds: their number, clients (R x C) for the largest budget, and bytes of a
            message.
    """

    kind: str
    amount: float
    share: float = 0.5
    tie: float = 0.0
    half: float = 0.0
    cap: int = 2**31
    schedule: Sequence[int] = ()
    dense: tuple[int, Ints, int] | None = None


def unserved_reason(network: ShownNetwork, runs: Sequence[Traffic]) -> str | None:
    """Return why the formula does not hold for some runs on a network; None if it does."""
    profile = network.profile
    if profile.shapes_training:
        return texts.UNSERVED_SHAPED
    together = _together(runs)
    if profile.has_devices and any(run.work is None for run in runs):
        return texts.UNSERVED_WORK
    clock = network.clocks[0]
    if not clock.is_steady(together):
        return texts.UNSERVED_SHARED
    if any(each.has_draws(together) for each in network.clocks):
        return texts.UNSERVED_JITTER
    links, _ = clock.links_by_place(together)
    if len(links) * len(network.clocks) > MOST_LINKS:
        return texts.UNSERVED_LARGE.format(most=MOST_LINKS)
    if len({link.loss for link in links}) > _MOST_LOSSES:
        return texts.UNSERVED_LOSSES
    return None if all(map(_has_fixed_examples, runs)) else texts.UNSERVED_EXAMPLES


def _together(runs: Sequence[Traffic]) -> Traffic:
    """Return one round in which every client of some runs takes part, without messages."""
    numbers = np.unique(np.concatenate([run.participants[0] for run in runs]))[None]
    none = np.zeros_like(numbers)
    return Traffic(numbers, none, none, none, none)


def _has_fixed_examples(run: Traffic) -> bool:
    """Return whether each client of a run processes the same examples in all its rounds."""
    place_RC = run.participants[1]
    return bool((_examples_of(run)[place_RC] == run.examples).all())


def _examples_of(run: Traffic) -> Ints:
    """Return the examples of each client that takes part in a run (N), in its first round."""
    numbers_N, place_RC = run.participants
    examples_N = np.zeros(len(numbers_N), dtype=np.int64)
    examples_N[place_RC.ravel()[::-1]] = run.examples.ravel()[::-1]
    return examples_N


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
        examples_N[np.searchsorted(self.numbers, run.participants[0])] = _examples_of(run)
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


def without_first(run: Traffic) -> tuple[Traffic, int]:
    """Return the messages of a run without first downloads, and the bytes of one of these."""
    first_bytes = int(run.first.max()) if run.first.size else 0
    return replace(run, first=np.zeros_like(run.first)), first_bytes
