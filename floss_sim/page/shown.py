"""What the sliders of a page are about: networks, configurations, budget and rule of choice.

The script applies the closed form of :mod:`floss_sim.analysis.round_times`. A network is served
where that holds and no client has jitter; of another one :func:`unserved_reason` says why.

Shapes: R rounds, C clients of a round, N clients that take part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from floss_sim.analysis.drawn_fleets import Fleets
from floss_sim.analysis.round_times import Clock
from floss_sim.analysis.traffic import Floats, Ints, Traffic
from floss_sim.network import NetworkProfile
from floss_sim.page import texts

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
        target: Accuracy to reach for least; None to have the best accuracy.
        most_round_s: Seconds that a round may take, as the mean over a run; None for any.
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
    target: float | None = None
    most_round_s: float | None = None
    schedule: Sequence[int] = ()
    dense: tuple[int, Ints, int] | None = None


def unserved_reason(network: ShownNetwork, runs: Sequence[Traffic]) -> str | None:
    """Return why the formula does not hold for some runs on a network; None if it does."""
    profile = network.profile
    if profile.shapes_training:
        return texts.UNSERVED_SHAPED
    if profile.transport.framework:
        return texts.UNSERVED_POLLS
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
    return bool((examples_of(run)[place_RC] == run.examples).all())


def examples_of(run: Traffic) -> Ints:
    """Return the examples of each client that takes part in a run (N), in its first round."""
    numbers_N, place_RC = run.participants
    examples_N = np.zeros(len(numbers_N), dtype=np.int64)
    examples_N[place_RC.ravel()[::-1]] = run.examples.ravel()[::-1]
    return examples_N


def without_first(run: Traffic) -> tuple[Traffic, int]:
    """Return the messages of a run without first downloads, and the bytes of one of these."""
    first_bytes = int(run.first.max()) if run.first.size else 0
    return replace(run, first=np.zeros_like(run.first)), first_bytes
