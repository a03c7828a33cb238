"""Several runs of one process that train side by side, over one backbone.

Each run has a thread and its own simulator, learner and record; one thread at a time has the turn.
A run whose cohort is to be trained waits; once all do, what can share a pass is trained in one::

    run A   ... dispatch | waits            | encode, aggregate, evaluate, dispatch | waits ...
    run B     ... dispatch | waits          |                                  ...  | waits ...
    grid                   | A, B: one pass |                                         | A, B ...

**A record does not depend on its neighbours.** Parties share the frozen layers' products and what
goes example by example; adapters and heads are multiplied party by party (``bank.py``). So a
party's bits are those that it has alone, if neither its rows of a frozen product depend on other
rows nor its activations on where in memory they stand. The first holds for oneDNN's product
(``frozen.py``). The second holds where all widths are whole vectors: torch computes what is left of
the last one in other ways, and products of what begins within one too. Elsewhere runs train one by
one. Nor is this trusted: the first passes that a bank's runs would share are computed both ways,
and on a single bit's difference its runs go on one by one.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import torch

from floss_sim.config import RunConfig
from floss_sim.sparsity import Vector
from floss_sim.training.bank_model import Bank, banked_layers, build_bank
from floss_sim.training.cohort import Party, train_side_by_side
from floss_sim.training.frozen import FrozenLinear

MOST = 24  # clients of several runs in a pass: on a CPU more are slower, caches end
_VECTORS = 32  # entries of float32 that torch takes at once, AVX-512 twice
_PROOFS, _PARTED = 3, -1  # passes of several runs that are computed both ways; none is shared
Values = list[Vector]


@cache
def grid_of(device: str) -> Grid:
    """Return the grid of this process on a device."""
    return Grid(torch.device(device))


class Grid:
    """The runs of a process that train side by side on a device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._turn = threading.Condition()
        self._counting = threading.Lock()
        self._members = 0
        self._banks: dict[object, Bank] = {}
        self._proofs: dict[Bank, int] = {}  # so many passes are still to be computed both ways
        self._waiting: dict[object, tuple[Party, int]] = {}  # with its chunk
        self._done: dict[object, Values | Exception] = {}
        self._clock_s = 0.0
        self._seen_s = time.monotonic()

    @contextmanager
    def member(self) -> Iterator[None]:
        """Take part with a run, and have the turn, which :meth:`train` lends to others.

        What a run waits for besides, such as the lock of its folder, it waits for outside.
        """
        self._count(1)
        try:
            with self._turn:
                yield
        finally:
            with self._turn:
                self._count(-1)
                self._train_waiting()

    def _count(self, more: int) -> None:
        with self._counting:
            self._tick()
            self._members += more

    def _tick(self) -> None:
        now_s = time.monotonic()
        self._clock_s += (now_s - self._seen_s) / max(1, self._members)
        self._seen_s = now_s

    def clock(self) -> float:
        """Return seconds of the wall's clock, shared alike between the runs at work."""
        with self._counting:
            self._tick()
            return self._clock_s

    def bank(self, config: RunConfig) -> Bank:
        """Return the bank of a run: one for all that adapt the same layers of the same backbone.

        Raises:
            TaskError: The backbone cannot be loaded.
            LayoutError: The backbone lacks a layer of the layout.
        """
        client, task = config.client, config.task
        key = (
            task.name, task.kind, task.backbone_hash, task.labels, repr(task.lora),
            repr(task.preprocess), frozenset(banked_layers(config).items()), client.precision,
            client.gradient_checkpointing,
        )  # fmt: skip
        if key not in self._banks:
            self._banks[key] = build_bank(config, self._device)
        return self._banks[key]

    def train(self, party: Party, chunk: int) -> Values:
        """Return a party's values, trained together with the parties of the other runs.

        Args:
            party: Of one of :meth:`bank`'s.
            chunk: How many clients of such a run a pass may have.

        Raises:
            TaskError: Inputs that the backbone cannot read.
        """
        ticket = object()
        self._waiting[ticket] = party, chunk
        self._train_waiting()
        while ticket not in self._done:
            self._turn.wait()
        done = self._done.pop(ticket)
        if isinstance(done, Exception):
            raise done
        return done

    def _train_waiting(self) -> None:
        """Train what is waiting, if every member waits."""
        if len(self._waiting) < self._members:
            return
        for tickets in self._passes():
            parties = [self._waiting[ticket][0] for ticket in tickets]
            self._done.update(zip(tickets, self._trained(parties), strict=True))
        self._waiting = {}
        self._turn.notify_all()

    def _passes(self) -> Iterator[list[object]]:
        """Yield which tickets share a pass: of one bank, and not too many clients."""
        by_bank: dict[Bank, list[object]] = {}
        for ticket, (party, _) in self._waiting.items():
            by_bank.setdefault(party.model.bank, []).append(ticket)
        for tickets in by_bank.values():
            sizes = [len(self._waiting[ticket][0].works) for ticket in tickets]
            most = min(MOST, *(self._waiting[ticket][1] for ticket in tickets))
            for part in _filled(sizes, most):
                yield tickets[part]

    def _trained(self, parties: Sequence[Party]) -> list[Values | Exception]:
        bank = parties[0].model.bank
        if len(parties) == 1 or not self._can_share(bank):
            return [_alone(party) for party in parties]
        try:
            together: list[Values | Exception] = list(train_side_by_side(parties))
        except Exception as error:  # whose fault it is each finds out alone
            alone = [_alone(party) for party in parties]
            if not any(isinstance(values, Exception) for values in alone):
                self._part(bank, f"runs do not fit side by side ({error})")
            return alone
        if self._proofs[bank]:
            self._proofs[bank] -= 1
            alone = [_alone(party) for party in parties]
            if not all(map(_same, together, alone)):
                self._part(bank, "runs side by side shift each other's last bits here")
            return alone
        return together

    def _part(self, bank: Bank, why: str) -> None:
        self._proofs[bank] = _PARTED
        warnings.warn(f"{why}: they train one by one", RuntimeWarning, stacklevel=2)

    def _can_share(self, bank: Bank) -> bool:
        if bank not in self._proofs:
            self._proofs[bank] = _PROOFS if _is_exact(bank) else _PARTED
        return self._proofs[bank] != _PARTED


def _is_exact(bank: Bank) -> bool:
    """Return whether a party's bits should not depend on its neighbours."""
    layers = [m for m in bank.model.modules() if isinstance(m, FrozenLinear)]
    whole = all(size % _VECTORS == 0 for layer in layers for size in layer.weight.shape)
    return bank.device.type == "cpu" and not bank.bf16 and bool(layers) and whole


def _alone(party: Party) -> Values | Exception:
    try:
        return train_side_by_side([party])[0]
    except Exception as error:
        return error


def _same(one: Values | Exception, other: Values | Exception) -> bool:
    if isinstance(one, Exception) or isinstance(other, Exception):
        return False
    return all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


def _filled(sizes: Sequence[int], most: int) -> Iterator[slice]:
    """Yield neighbours that add up to so much at most; what is more alone stands alone."""
    first = total = 0
    for index, size in enumerate(sizes):
        if index > first and total + size > most:
            yield slice(first, index)
            first, total = index, 0
        total += size
    yield slice(first, len(sizes))
