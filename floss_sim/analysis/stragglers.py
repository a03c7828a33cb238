"""Stragglers: clients that decide how long a run takes, and what would remove them.

A client is a straggler if the rounds in which it takes part would, in their median, last less than
half as long without it, and the whole run at least a tenth shorter. Of several stragglers the one
that delays the run most is named.

Two remedies are computed from the same arrival times; both change what is learned:

- a deadline, at which 95 % of the rounds have closed without the straggler; the updates that arrive
  later are lost. If that hardly helps, because other clients are as slow, the next stragglers are
  left out, too;
- over-selection: one client more in each cohort, whose last report is not awaited. The additional
  client is taken from the next round: the first one, counted from another place in each round, that
  is not in the cohort already.

A remedy is named if it makes the run at least a tenth shorter.

Arrival times are those of the run: capacity that a client leaves to others is not counted.

Shapes: R rounds, C clients of a round.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from floss_sim.analysis.traffic import Floats, Ints
from floss_sim.network import ClientLink
from floss_sim.units import format_duration, format_rate

if TYPE_CHECKING:
    from floss_sim.records import RunRecord

SHARE_OF_ROUND = 0.5  # of the time of a round; the median round of a straggler falls below it
SHARE_OF_RUN = 0.1  # of the run's time, at least saved without it
_IN_TIME = 0.95  # fraction of rounds that a deadline leaves as they are without the straggler


@dataclass(frozen=True)
class Straggler:
    """A client that decides how long a run takes.

    Attributes:
        client: Its number.
        rounds: Rounds in which it takes part.
        all_rounds: Rounds of the run.
        round_s: Median seconds of the rounds in which it takes part.
        round_without_s: Median seconds of the same rounds without it.
        run_s: Seconds of the run.
        run_without_s: Seconds of the run without it.
        deadline_s: Deadline of a round that would remove it, or None if no deadline helps:
            then ``deadline_run_s`` and ``deadline_lost`` are None.
        deadline_run_s: Seconds of the run with this deadline.
        deadline_lost: Fraction of all updates that arrive after it, 0 to 1.
        cohort: Clients of a round.
        selection_run_s: Seconds of the run with one client more in each cohort, whose last report
            is not awaited, for up to 1 / ``cohort`` more bytes; None if the fleet has no more, or
            if it hardly helps.
    """

    client: int
    rounds: int
    all_rounds: int
    round_s: float
    round_without_s: float
    run_s: float
    run_without_s: float
    deadline_s: float | None
    deadline_run_s: float | None
    deadline_lost: float | None
    cohort: int
    selection_run_s: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the straggler as plain values."""
        return asdict(self)

    def sentences(self, link: ClientLink | None = None) -> list[str]:
        """Return who holds up its rounds, and what would remove it; with the rates of its link."""
        rates = f" ({link_text(link)})" if link else ""
        delay = (
            f"client {self.client}{rates} holds up its rounds: {self.rounds} of "
            f"{self.all_rounds} rounds have it, and take {format_duration(self.round_s)} in the "
            f"median instead of {format_duration(self.round_without_s)}; without it the run takes "
            f"{format_duration(self.run_without_s)} instead of {format_duration(self.run_s)}"
        )
        ways = " or ".join([*self._deadline_texts(), *self._selection_texts()])
        return [delay, f"removed by {ways}; this changes what is learned"] if ways else [delay]

    def _deadline_texts(self) -> list[str]:
        if self.deadline_s is None or self.deadline_run_s is None or self.deadline_lost is None:
            return []
        return [
            f"--policy deadline:{self.deadline_s:g}s (about "
            f"{format_duration(self.deadline_run_s)}, {100 * self.deadline_lost:.2g} % of the "
            "updates lost)"
        ]

    def _selection_texts(self) -> list[str]:
        if self.selection_run_s is None:
            return []
        return [
            f"--cohort {self.cohort + 1} --policy first-k:{self.cohort} (about "
            f"{format_duration(self.selection_run_s)}, up to {100 / self.cohort:.3g} % more bytes)"
        ]


def straggler_of(record: RunRecord, rounds: int | None = None) -> Straggler | None:
    """Return the straggler of a run whose rounds wait for all their clients, or None.

    Args:
        record: Record of the run, timed on the network in question.
        rounds: Number of the round that ends the run; by default the last one.
    """
    from floss_sim.runs.retiming import fleet_size

    if "conditions" in record.description.get("trajectory", {}) or not record.rounds.num_rows:
        return None
    seconds_RC, clients_RC = _arrivals(record)
    fleet = fleet_size(record.description)
    return find_straggler(seconds_RC[:rounds], clients_RC[:rounds], fleet)


def find_straggler(seconds_RC: Floats, clients_RC: Ints, fleet: int) -> Straggler | None:
    """Return the straggler of some rounds, or None.

    Args:
        seconds_RC: Seconds from the start of the round to the arrival of each client's update.
        clients_RC: Number of each client.
        fleet: Number of clients in the fleet.
    """
    if seconds_RC.shape[1] < 2 or not (seconds_RC > 0).all():
        return None  # a round of one client, or one without a duration, has no straggler
    straggler = _slowest_client(seconds_RC, clients_RC)
    if straggler is None:
        return None
    longest_R = seconds_RC.max(axis=1)
    without_R = _leave_out(straggler, seconds_RC, clients_RC).max(axis=1)
    takes_part_R = (clients_RC == straggler).any(axis=1)
    rounds, cohort = seconds_RC.shape
    run_s, round_s = float(longest_R.sum()), float(np.median(longest_R[takes_part_R]))
    deadline_s = _find_deadline(straggler, seconds_RC, clients_RC)
    ends_R = None if deadline_s is None else _ends(seconds_RC, deadline_s)
    selection_s = _selection_s(seconds_RC, clients_RC) if cohort < fleet else math.inf
    return Straggler(
        client=straggler,
        rounds=int(takes_part_R.sum()),
        all_rounds=rounds,
        round_s=round_s,
        round_without_s=float(np.median(without_R[takes_part_R])),
        run_s=run_s,
        run_without_s=float(without_R.sum()),
        deadline_s=deadline_s,
        deadline_run_s=None if ends_R is None else float(ends_R.sum()),
        deadline_lost=None if ends_R is None else float((seconds_RC > ends_R[:, None]).mean()),
        cohort=cohort,
        selection_run_s=selection_s if selection_s <= (1 - SHARE_OF_RUN) * run_s else None,
    )


def _slowest_client(seconds_RC: Floats, clients_RC: Ints) -> int | None:
    """Return the straggler that delays the run most, or None."""
    in_order_RC = np.sort(seconds_RC, axis=1)
    longest_R, second_R = in_order_RC[:, -1], in_order_RC[:, -2]
    slowest_R = clients_RC[np.arange(len(clients_RC)), seconds_RC.argmax(axis=1)]
    found: list[tuple[float, int]] = []
    for client in np.unique(slowest_R).tolist():
        takes_part_R = (clients_RC == client).any(axis=1)
        without_R = np.where(slowest_R == client, second_R, longest_R)
        median_share = np.median(without_R[takes_part_R] / longest_R[takes_part_R])
        saved_s = float((longest_R - without_R).sum())
        if median_share < SHARE_OF_ROUND and saved_s >= SHARE_OF_RUN * longest_R.sum():
            found.append((saved_s, client))
    return max(found)[1] if found else None


def time_without_slowest(seconds_RC: Floats, clients_RC: Ints) -> tuple[int, float]:
    """Return the client that delays a run most, and the seconds of the run without it.

    Args:
        seconds_RC: Seconds from the start of the round to the arrival of each client's update.
        clients_RC: Number of each client.
    """
    if seconds_RC.shape[1] < 2:  # a round of one client is nothing without it
        return int(clients_RC[0, 0]), float(seconds_RC.sum())
    in_order_RC = np.sort(seconds_RC, axis=1)
    slowest_R = clients_RC[np.arange(len(clients_RC)), seconds_RC.argmax(axis=1)]
    clients, place = np.unique(slowest_R, return_inverse=True)
    saved_s = np.bincount(place, weights=in_order_RC[:, -1] - in_order_RC[:, -2])
    client = int(saved_s.argmax())
    return int(clients[client]), float(in_order_RC[:, -1].sum() - saved_s[client])


def _leave_out(client: int, seconds_RC: Floats, clients_RC: Ints) -> Floats:
    """Return the seconds with those of a client replaced by the fastest other one of its round."""
    is_other_RC = clients_RC != client
    fastest_R = np.where(is_other_RC, seconds_RC, np.inf).min(axis=1)
    return np.where(is_other_RC, seconds_RC, fastest_R[:, None])


def _find_deadline(straggler: int, seconds_RC: Floats, clients_RC: Ints) -> float | None:
    """Return the longest deadline that makes a run a tenth shorter, or None."""
    longest_R, rest_RC = seconds_RC.max(axis=1), seconds_RC
    client: int | None = straggler
    while client is not None:
        rest_RC = _leave_out(client, rest_RC, clients_RC)
        deadline_s = _round_up(np.quantile(rest_RC.max(axis=1), _IN_TIME, method="inverted_cdf"))
        if _ends(seconds_RC, deadline_s).sum() <= (1 - SHARE_OF_RUN) * longest_R.sum():
            return deadline_s
        client = _slowest_client(rest_RC, clients_RC)
    return None


def _ends(seconds_RC: Floats, deadline_s: float) -> Floats:
    """Return the seconds of each round (R) with a deadline; a round has at least one report."""
    ends_R: Floats = np.maximum(
        seconds_RC.min(axis=1), np.minimum(seconds_RC.max(axis=1), deadline_s)
    )
    return ends_R


def _round_up(seconds: float) -> float:
    """Return seconds rounded up to two digits."""
    unit = 10.0 ** (math.floor(math.log10(seconds)) - 1)
    return float(f"{math.ceil(seconds / unit) * unit:.2g}")


def _selection_s(seconds_RC: Floats, clients_RC: Ints) -> float:
    """Return the seconds of all rounds if each awaits C reports of C + 1 clients."""
    rounds, cohort = seconds_RC.shape
    total_s = 0.0
    for number, (seconds_C, clients_C) in enumerate(zip(seconds_RC, clients_RC, strict=True)):
        following = (number + 1) % rounds
        others_C = np.roll(seconds_RC[following], -(number % cohort))
        is_new_C = ~np.isin(np.roll(clients_RC[following], -(number % cohort)), clients_C)
        total_s += np.sort(np.append(seconds_C, others_C[is_new_C][:1]))[cohort - 1]
    return float(total_s)


def _arrivals(record: RunRecord) -> tuple[Floats, Ints]:
    """Return the seconds from the start of a round to each arrival (R x C), and the clients."""
    import pyarrow.compute as pc

    ups = record.transfers.filter(pc.equal(record.transfers["direction"], "up"))
    ups = ups.sort_by("sequence")
    rounds = record.rounds.num_rows
    opened_at_R = record.rounds["opened_at_s"].to_numpy()
    ended_at_RC = ups["ended_at_s"].to_numpy().reshape(rounds, -1)
    clients_RC = ups["client"].to_numpy().astype(np.int64).reshape(rounds, -1)
    return ended_at_RC - opened_at_R[:, None], clients_RC


def link_text(link: ClientLink) -> str:
    """Return the rates, the round trip and the computing time of a link, in words."""
    parts: Sequence[str] = (
        f"{format_rate(link.down_bits_per_s)} down",
        f"{format_rate(link.up_bits_per_s)} up",
        *([f"round trip {format_duration(link.rtt_s)}"] if link.rtt_s else []),
        *(
            [f"{format_duration(link.compute_s_per_example)} an example"]
            if link.compute_s_per_example
            else []
        ),
        *([link.device.text] if link.device else []),
    )
    return ", ".join(parts)
