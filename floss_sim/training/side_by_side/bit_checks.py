"""Which jobs share a pass: those of which it was seen that no bit depends on the others.

**On a CPU there is a reason** why a bit cannot depend on neighbours. Parties share the frozen
layers' products and what goes example by example; adapters and heads are multiplied party by party
(``bank/layers.py``). So a party's bits are those that it has alone, if neither its rows of a frozen
product depend on other rows nor its activations on where in memory they stand. In float32 the first
holds for oneDNN's product (``bank/onednn.py``). The second holds where all widths are whole
vectors: torch computes what is left of the last one in other ways, and products of what begins
within one too. A bank's first passes are computed both ways, together and each run alone; from then
on all its passes are trusted. Where there is no such reason runs of a CPU go on one by one: what is
left of a vector rounds in other ways for some values only, so that examples prove little (of 12
shapes of a Llama of inner width 24 all differed, but 4 of them not by the first values that were
tried).

**On a GPU the shape decides.** A matrix library chooses its kernel, and how that cuts its sums, by
the sizes of what it multiplies and by how that lies in memory: by the shape of a pass
(``pass_jobs.py``), not by values; another kernel rounds nearly all values in other ways. So each
shape is proved: computed both ways once, in bf16, which hides most of it, three times, and shared
from then on only if no bit differed. Else its runs are computed one by one; other shapes may still
share. An example is evidence, not certainty, so that now and then a shared pass is computed both
ways again, on all devices.

A proof costs a shared pass besides what runs cost alone, and where cohorts are ragged most shapes
never come back. So proofs are paid for by what is shared: as long as a bank has shared about as
many passes as were proofs, a shape is proved when it comes for the first time, else when it comes
for the second. Jobs are put in order before they are dealt to passes, so that the same ones make
the same shapes, whoever came first.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any

from floss_sim.training.bank.model import Bank
from floss_sim.training.bank.onednn import FrozenLinear
from floss_sim.training.side_by_side.limits import DeviceLimits
from floss_sim.training.side_by_side.pass_jobs import Job, PassShape

_VECTOR_ENTRIES = 32  # entries of float32 that torch takes at once, AVX-512 twice
_PROOFS = 3  # of a bank with a reason, of a shape in bf16; of a shape in float32 one will do
_CREDIT = 3  # proofs that nothing has paid for
_RECHECK_INTERVAL = 100  # of a bank's shared passes every so many is computed both ways again
_ALONE, _BOTH, _TOGETHER = range(3)
Pass = Sequence[Job[Any]]
Key = tuple[Bank, type[Job[Any]], bytes]


class BitChecks:
    """What the runs of a process compute together.

    Args:
        limits: How many clients share a pass.
    """

    def __init__(self, limits: DeviceLimits) -> None:
        self._limits = limits
        self._reasons: dict[Bank, bool] = {}
        self._seen: set[Key] = set()
        self._proofs: Counter[Key] = Counter()
        self._spent: Counter[Bank] = Counter()  # passes that were proofs
        self._shared: Counter[Bank] = Counter()  # passes that were to be none
        self._parted: set[Key | Bank] = set()  # what shares nothing
        self._warned: set[tuple[Bank, str]] = set()
        self._most: dict[Bank, int] = {}  # clients of a pass, where fewer fit than allowed

    def prepare(self, job: Job[Any]) -> None:
        """Find a job's part of a pass' shape, where shapes decide.

        Raises:
            TaskError: Inputs that cannot be read.
        """
        self._shape(job)

    def _shape(self, job: Job[Any]) -> PassShape:
        return job.shape if self._limits.checks_by_shape else ()

    def passes(self, waiting: Iterable[Job[Any]]) -> Iterator[Pass]:
        """Yield which jobs share a pass: of one kind and bank, and not too many clients."""
        groups: dict[object, list[Job[Any]]] = {}
        for job in waiting:
            groups.setdefault((job.kind, job.bank), []).append(job)
        for jobs in groups.values():
            jobs.sort(key=self._shape)
            most = self._most.get(jobs[0].bank, self._limits.max_clients)
            for part in _pass_slices(
                [job.clients for job in jobs], min(most, *(j.chunk for j in jobs))
            ):
                yield jobs[part]

    def results(self, jobs: Pass) -> list[Any]:
        """Return what comes of the jobs of a pass; of each that fails its error."""
        key = self._key(jobs)
        way = self._way(jobs, key)
        together, failed = ([], "") if way == _ALONE else _pass_results(jobs)
        if together and way == _TOGETHER:
            return together
        alone = [_single_result(job) for job in jobs]
        if failed and not any(isinstance(result, Exception) for result in alone):
            self._narrow(jobs, failed)
        elif together:
            self._judge(key, all(map(_has_same_bits, jobs, together, alone)))
        return alone

    def _key(self, jobs: Pass) -> Key:
        """Return what a proof is good for: a shape, or all passes of a kind over a bank."""
        shapes = (
            repr([self._shape(job) for job in jobs]).encode()
            if self._limits.checks_by_shape
            else b""
        )
        return jobs[0].bank, type(jobs[0]), blake2b(shapes, digest_size=16).digest()

    def _way(self, jobs: Pass, key: Key) -> int:
        bank = jobs[0].bank
        if len(jobs) == 1 or not self._may_share(bank) or key in self._parted:
            return _ALONE
        if self._is_proved(key):
            self._shared[bank] += 1
            return _TOGETHER if self._shared[bank] % _RECHECK_INTERVAL else _BOTH
        first, paid = key not in self._seen, self._spent[bank] < self._shared[bank] + _CREDIT
        self._seen.add(key)
        if first and not paid:
            return _ALONE
        self._spent[bank] += 1
        return _BOTH

    def _may_share(self, bank: Bank) -> bool:
        if bank not in self._reasons:
            self._reasons[bank] = self._limits.checks_by_shape or _is_exact(bank)
        return self._reasons[bank] and bank not in self._parted

    def _is_proved(self, key: Key) -> bool:
        enough = 1 if self._limits.checks_by_shape and not key[0].bf16 else _PROOFS
        return self._proofs[key] >= enough

    def _judge(self, key: Key, same: bool) -> None:
        """Take a proof; what it refutes is parted: a shape, or all of a bank that was trusted."""
        if same:
            self._proofs[key] += 1
        elif self._is_proved(key):
            self._forbid_sharing(
                key[0], key[0], "runs side by side shift each other's last bits after all"
            )
        elif self._limits.checks_by_shape:
            self._forbid_sharing(
                key, key[0], "some runs side by side shift each other's last bits here"
            )
        else:
            self._forbid_sharing(
                key[0], key[0], "runs side by side shift each other's last bits here"
            )

    def _forbid_sharing(self, what: Key | Bank, bank: Bank, why: str) -> None:
        self._parted.add(what)
        if (bank, why) not in self._warned:  # once
            warnings.warn(f"{why}: they train one by one", RuntimeWarning, stacklevel=2)
        self._warned.add((bank, why))

    def _narrow(self, jobs: Pass, why: str) -> None:
        """Let fewer clients share a pass from now on."""
        most = self._most[jobs[0].bank] = max(1, sum(job.clients for job in jobs) // 2)
        warnings.warn(
            f"runs do not fit side by side ({why}): passes of {most} clients from here",
            RuntimeWarning,
            stacklevel=2,
        )


def _is_exact(bank: Bank) -> bool:
    """Return whether there is a reason why a party's bits do not depend on its neighbours."""
    layers = [m for m in bank.model.modules() if isinstance(m, FrozenLinear)]  # on a CPU alone
    whole = all(size % _VECTOR_ENTRIES == 0 for layer in layers for size in layer.weight.shape)
    return not bank.bf16 and bool(layers) and whole


def _pass_results(jobs: Pass) -> tuple[list[Any], str]:
    """Return what comes of a pass, or else why it failed: the error itself would keep memory."""
    try:
        return jobs[0].compute_pass(jobs), ""
    except Exception as error:  # whose fault it is each finds out alone
        return [], str(error) or type(error).__name__


def _single_result(job: Job[Any]) -> Any:
    try:
        return job.compute_pass([job])[0]
    except Exception as error:
        return error


def _has_same_bits(job: Job[Any], one: Any, other: Any) -> bool:
    failed = isinstance(one, Exception) or isinstance(other, Exception)
    return not failed and job.bits(one) == job.bits(other)


def _pass_slices(sizes: Sequence[int], most: int) -> Iterator[slice]:
    """Yield neighbours that add up to so much at most; what is more alone stands alone."""
    first = total = 0
    for index, size in enumerate(sizes):
        if index > first and total + size > most:
            yield slice(first, index)
            first, total = index, 0
        total += size
    yield slice(first, len(sizes))
