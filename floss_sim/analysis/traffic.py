"""Traffic of a run: the cohorts and the payload bytes of every message, predicted or recorded.

These are the arrays of a size-only run without instants. Records and their libraries are imported
where one is read, so that an estimate loads neither. Sizes need no simulation, and the same
messages can be timed on many fleets (see :mod:`floss_sim.analysis.drawn_fleets`).

Shapes: R rounds, C clients of a round, N clients that take part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from floss_sim.methods import WAYS, SizePredictor, Way
from floss_sim.network import ClientLink
from floss_sim.network.devices.local_work import LocalWork
from floss_sim.protocol.sampling import draw_cohort
from floss_sim.units import BITS_PER_BYTE

if TYPE_CHECKING:
    from floss_sim.records import RunRecord
    from floss_sim.runs.calibration import Calibration
    from floss_sim.runs.config import RunConfig

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Traffic:
    """The messages of synchronous rounds, each of which waits for its whole cohort.

    Attributes:
        clients: Numbers of the clients in each cohort (R x C), in the order of dispatch.
        down: Payload bytes of each download (R x C).
        up: Payload bytes of each upload (R x C).
        first: Bytes that a client downloads once, before its first download; else 0 (R x C).
        examples: Local examples that each client processes (R x C).
        work: Operations of local training; None if they are unknown.
    """

    clients: Ints
    down: Ints
    up: Ints
    first: Ints
    examples: Ints
    work: LocalWork | None = None

    @classmethod
    def predict(cls, config: RunConfig, rounds: int, first_bytes: int = 0) -> Traffic:
        """Return the messages of a run, with sizes predicted as by ``run.size_only``.

        Args:
            config: Configuration of the run.
            rounds: Number of rounds, at least 1.
            first_bytes: Bytes that a client downloads once (``NetworkProfile.first_download``).
        """
        made = cls.of_sizes(
            config.sizes,
            config.seed,
            rounds,
            config.fleet.clients,
            config.client_examples().__getitem__,
        )
        return replace(made.with_first(first_bytes), work=config.work)

    @classmethod
    def of_sizes(
        cls,
        sizes: SizePredictor,
        seed: int,
        rounds: int,
        fleet: int,
        examples_of: Callable[[int], int],
    ) -> Traffic:
        """Return the messages of predicted sizes, without first downloads.

        Args:
            sizes: Predicted sizes of the messages of a run.
            seed: Seed of the cohorts.
            rounds: Number of rounds, at least 1.
            fleet: Number of clients in the fleet.
            examples_of: Returns the local examples of a client in a round.
        """
        clients_RC = _cohorts(seed, rounds, fleet, sizes.cohort)
        down_RC, up_RC = (_sizes(sizes, way, clients_RC, fleet) for way in WAYS)
        chosen = np.unique(clients_RC)
        examples_N = np.array([examples_of(int(client)) for client in chosen], dtype=np.int64)
        examples_RC = examples_N[np.searchsorted(chosen, clients_RC)]
        return cls(clients_RC, down_RC, up_RC, np.zeros_like(clients_RC), examples_RC)

    @classmethod
    def of(cls, record: RunRecord, work: LocalWork | None = None) -> Traffic:
        """Return the messages of a recorded run.

        Args:
            record: The record.
            work: Operations of local training, for a record that does not state them.
        """
        import pyarrow.compute as pc

        from floss_sim.runs.retiming import work_of

        table, shape = record.transfers, (record.rounds.num_rows, -1)

        def column(direction: str, name: str) -> Ints:
            rows = table.filter(pc.equal(table["direction"], direction))
            return np.asarray(rows[name], dtype=np.int64)

        def per_client(direction: str, name: str) -> Ints:
            return column(direction, name).reshape(shape)

        clients_RC = per_client("down", "client")
        first_RC = np.zeros_like(clients_RC)
        first_RC.flat[column("first", "sequence")] = column("first", "nbytes")
        down_RC, up_RC = per_client("down", "nbytes"), per_client("up", "nbytes")
        work = work_of(record.description) or work
        return cls(clients_RC, down_RC, up_RC, first_RC, per_client("up", "examples"), work)

    @cached_property
    def participants(self) -> tuple[Ints, Ints]:
        """The clients that take part by number (N), and the place of each among them (R x C)."""
        numbers_N, place = np.unique(self.clients, return_inverse=True)
        return numbers_N, place.reshape(self.shape)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rounds, and number of clients of a round."""
        rounds, cohort = self.clients.shape
        return rounds, cohort

    def until(self, rounds: int) -> Traffic:
        """Return the messages of the first ``rounds`` rounds."""
        names = ("clients", "down", "up", "first", "examples")
        return replace(self, **{name: getattr(self, name)[:rounds] for name in names})

    def with_first(self, nbytes: int) -> Traffic:
        """Return the same messages, each client's first one preceded by a download of ``nbytes``.

        With 0 the messages are returned unchanged.
        """
        if not nbytes:
            return self
        first_RC = np.zeros_like(self.clients)
        first_RC.flat[np.unique(self.clients, return_index=True)[1]] = nbytes
        return replace(self, first=first_RC)

    def with_sizes(self, down: int, up: int) -> Traffic:
        """Return the same messages with all downloads ``down`` and all uploads ``up`` bytes."""
        return replace(
            self, down=np.full_like(self.clients, down), up=np.full_like(self.clients, up)
        )

    def with_calibration(self, by: Calibration) -> Traffic:
        """Return the same messages at calibrated sizes, rounded as by ``Calibration.nbytes``."""
        down, up = (
            np.maximum(1, np.rint(nbytes * factor)).astype(np.int64)
            for nbytes, factor in ((self.down, by.down), (self.up, by.up))
        )
        return replace(self, down=down, up=up)

    def calibration(self, predicted: Traffic, rounds: range) -> Calibration:
        """Return the ratio of mean message sizes to the predicted ones over some rounds.

        Args:
            predicted: Predicted messages of the same run.
            rounds: Numbers of the rounds, from 1.
        """
        from floss_sim.runs.calibration import Calibration

        chosen = slice(rounds.start - 1, rounds.stop - 1)
        return Calibration(
            float(self.down[chosen].mean() / predicted.down[chosen].mean()),
            float(self.up[chosen].mean() / predicted.up[chosen].mean()),
        )

    def nbytes(self) -> Floats:
        """Return the total bytes of all clients, both directions, after each round (R)."""
        return np.cumsum(self._client_bytes().sum(axis=1), dtype=np.float64)

    def busiest_bytes(self) -> Floats:
        """Return the bytes of the client that has transferred most, after each round (R)."""
        return self.most_of_a_client(self._client_bytes().astype(np.float64))

    def busiest_bytes_within(self, rounds: int) -> Floats:
        """Return the most bytes of a client within consecutive rounds, after each round (R).

        Args:
            rounds: Number of consecutive rounds, at least 1.
        """
        if rounds >= self.shape[0]:
            return self.busiest_bytes()
        numbers_N, place_RC = self.participants
        nbytes_RC, so_far_N = self._client_bytes(), np.zeros(len(numbers_N))
        most_R = np.empty(len(nbytes_RC))
        for r, (nbytes_C, place_C) in enumerate(zip(nbytes_RC, place_RC, strict=True)):
            so_far_N[place_C] += nbytes_C
            if r >= rounds:
                so_far_N[place_RC[r - rounds]] -= nbytes_RC[r - rounds]
            most_R[r] = so_far_N[place_C].max()
        return np.maximum.accumulate(most_R)

    def most_of_a_client(self, amount_RC: Floats) -> Floats:
        """Return the largest sum of a client so far, after each round (R).

        Args:
            amount_RC: What each participation takes (R x C), not negative.
        """
        numbers_N, place_RC = self.participants
        so_far_N = np.zeros(len(numbers_N))
        most_R = np.empty(len(amount_RC))
        for r, (amount_C, place_C) in enumerate(zip(amount_RC, place_RC, strict=True)):
            so_far_N[place_C] += amount_C
            most_R[r] = so_far_N[place_C].max()
        return np.maximum.accumulate(most_R)

    def link_seconds(self, links: Sequence[ClientLink]) -> Floats:
        """Return the rate-weighted traffic after each round (R), in seconds.

        This is the sum of payload bits over nominal rates, without latency, headers, queueing
        and traces.
        """
        numbers, place = np.unique(self.clients, return_inverse=True)
        rates = [(links[int(i)].down_bits_per_s, links[int(i)].up_bits_per_s) for i in numbers]
        down_RC, up_RC = np.array(rates)[place.reshape(self.clients.shape)].transpose(2, 0, 1)
        seconds_RC = (self.first + self.down) / down_RC + self.up / up_RC
        return np.cumsum(BITS_PER_BYTE * seconds_RC.sum(axis=1))

    def _client_bytes(self) -> Ints:
        per_client_RC: Ints = self.first + self.down + self.up
        return per_client_RC


@lru_cache(maxsize=64)  # candidates of equal cohort size share an entry
def _cohorts(seed: int, rounds: int, fleet: int, size: int) -> Ints:
    drawn = [draw_cohort(seed, number, fleet, size).clients for number in range(1, rounds + 1)]
    clients_RC = np.array(drawn, dtype=np.int64)
    clients_RC.setflags(write=False)
    return clients_RC


def _sizes(sizes: SizePredictor, way: Way, clients_RC: Ints, fleet: int) -> Ints:
    """Return the predicted bytes of the messages in one direction, by client tier (R x C)."""
    rounds, method = len(clients_RC), sizes.method
    if way == "down" and method.downloads_changes:
        return _changed_sizes(sizes, clients_RC, fleet)
    nbytes_TR = np.array(
        [sizes.messages(way, tier, 1, rounds)[0] for tier in range(len(method.tiers))]
    )
    if len(nbytes_TR) == 1:
        return np.broadcast_to(nbytes_TR[0][:, None], clients_RC.shape)
    tier_RC = np.vectorize(lambda client: method.tier_of(client, fleet))(clients_RC)
    nbytes_RC: Ints = nbytes_TR[tier_RC, np.arange(rounds)[:, None]]
    return nbytes_RC


def _changed_sizes(sizes: SizePredictor, clients_RC: Ints, fleet: int) -> Ints:
    """Return the predicted bytes of downloads of what has changed since a client's last (R x C)."""
    held: dict[int, int] = {}
    nbytes_RC = np.empty_like(clients_RC)
    for version, clients in enumerate(clients_RC.tolist()):
        for place, client in enumerate(clients):
            tier = sizes.method.tier_of(client, fleet)
            last = held.get(client, 0)
            nbytes_RC[version, place] = sizes.message("down", tier, version, last)[0]
            held[client] = version
    return nbytes_RC
