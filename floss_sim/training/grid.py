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
_PROOFS = 3  # passes of several runs that are computed both ways
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
        self._proofs: dict[Bank, int] = {}  # passes that are still to be computed both ways
        self._waiting: dict[object, Party] = {}
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
            repr(task.preprocess), banked_layers(config), client.precision,
            client.gradient_checkpointing,
        )  # fmt: skip
        if key not in self._banks:
            self._banks[key] = build_bank(config, self._device)
        return self._banks[key]

    def train(self, party: Party) -> Values:
        """Return a party's values, trained together with the parties of the other runs.

        Raises:
            TaskError: Inputs that the backbone cannot read.
        """
        ticket = object()
        self._waiting[ticket] = party
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
        tickets: dict[Bank, list[object]] = {}
        for ticket, party in self._waiting.items():
            tickets.setdefault(party.model.bank, []).append(ticket)
        for bank, own in tickets.items():
            for shared in _passes([(t, len(self._waiting[t].works)) for t in own]):
                parties = [self._waiting[ticket] for ticket in shared]
                self._done.update(zip(shared, self._trained(bank, parties), strict=True))
        self._waiting = {}
        self._turn.notify_all()

    def _trained(self, bank: Bank, parties: Sequence[Party]) -> list[Values | Exception]:
        if len(parties) == 1 or not self._can_share(bank):
            return [_alone(party) for party in parties]
        try:
            together = train_side_by_side(parties)
        except Exception:  # whose fault it is, or whether memory ends, each finds out alone
            return [_alone(party) for party in parties]
        if self._proofs[bank]:
            self._proofs[bank] -= 1
            alone = [_alone(party) for party in parties]
            if not all(map(_same, together, alone)):
                self._proofs[bank] = -1
                warnings.warn(
                    "runs side by side shift each other's last bits here: they train one by one",
                    RuntimeWarning,
                    stacklevel=2,
                )
            return alone
        return list(together)

    def _can_share(self, bank: Bank) -> bool:
        if bank not in self._proofs:
            self._proofs[bank] = _PROOFS if _is_exact(bank) else -1
        return self._proofs[bank] >= 0


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


def _passes(sizes: Sequence[tuple[object, int]]) -> Iterator[list[object]]:
    """Yield tickets that share a pass: about equally many clients each, and not too many."""
    count = max(1, min(len(sizes), round(sum(size for _, size in sizes) / MOST + 0.49)))
    most = -(-len(sizes) // count)
    for first in range(0, len(sizes), most):
        yield [ticket for ticket, _ in sizes[first : first + most]]
