"""Checks of bit-identity: which jobs may be computed in one batched pass.

A *job* is what one run waits for: the local training of its clients, or an evaluation. A *check*
computes the jobs of a pass twice, batched and one at a time, and compares all bits of the results.
Jobs are batched without a check only after checks have found no difference.

**CPU.** The matrix products of the frozen layers are computed for several runs together, and so are
the operations that treat each example separately. Adapters and heads are multiplied run by run
(``bank/layers.py``). A run then has the bits that it has alone if two conditions hold:

(a) A row of a frozen product does not depend on the other rows. This is true for oneDNN in float32
    (``bank/onednn.py``).
(b) The values computed for a row do not depend on where the row lies in memory. This is true if
    every layer width is a multiple of 32 entries, the block that torch's SIMD code handles at once.
    torch uses different code for the entries after the last full block, and for operands that do
    not begin at a block boundary.

If both hold, the first three passes of each kind (training, evaluation) over a bank are checked,
and later ones are batched without a check. If one fails, runs on a CPU train one at a time. Checks
would prove little there: the code for left-over entries rounds only some values differently, so a
check can pass by chance. (A Llama of inner width 24 differed in all 12 shapes of a pass that were
tried, but in 4 of them not with the first input values.)

**GPU.** The matrix library chooses a kernel, and the way it splits sums, from the sizes and the
memory layout of the operands. These follow from the shape of a pass (``pass_jobs.py``); values do
not matter. Another kernel rounds nearly all values differently. So each shape is checked: once in
float32, and three times in bf16, whose rounding hides most differences. Jobs of a shape are batched
only if no bit differed; otherwise they are computed one at a time. A shape that fails does not
affect other shapes.

Checks are evidence, not proof. On all devices every 100th batched pass of a bank is checked as
well; if a bit differs, the runs of that bank train one at a time from then on.

A check costs one extra pass. If the clients of a cohort have different amounts of data, most shapes
occur only once. So checks are budgeted: a new shape is checked at its first occurrence only while
the bank has run at most about as many checks as batched passes. Otherwise its jobs are computed one
at a time, and the shape is checked at its second occurrence. Jobs are sorted before they are
grouped into passes, so that the same jobs give the same shapes in any order of arrival.
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

_VECTOR_ENTRIES = 32  # float32 entries that torch processes at once: two AVX-512 registers
_CHECKS_NEEDED = 3  # identical checks before batching is trusted (1 for a float32 shape on a GPU)
_FREE_CHECKS = 3  # checks allowed before any pass has been batched
_RECHECK_EVERY = 100  # batched passes of a bank from one repeated check to the next
_ALONE, _BOTH, _TOGETHER = range(3)  # how a pass is computed; _BOTH is a check
Pass = Sequence[Job[Any]]
Key = tuple[Bank, type[Job[Any]], bytes]


class BitChecks:
    """Groups of jobs that are computed in one pass, and the checks that allow this.

    Args:
        limits: The device's limits: clients in a pass, and whether checks are made by shape.
    """

    def __init__(self, limits: DeviceLimits) -> None:
        self._limits = limits
        self._reasons: dict[Bank, bool] = {}
        self._seen: set[Key] = set()
        self._passed_checks: Counter[Key] = Counter()
        self._checks_run: Counter[Bank] = Counter()  # checks of a bank, repeated checks not counted
        self._batched: Counter[Bank] = Counter()  # passes of a bank after its checks succeeded
        self._failed: set[Key | Bank] = set()  # shapes and banks that failed a check
        self._warned: set[tuple[Bank, str]] = set()
        self._most: dict[Bank, int] = {}  # clients in a pass, after a larger one did not fit

    def prepare(self, job: Job[Any]) -> None:
        """Compute the job's shape in advance, if checks are made by shape.

        Raises:
            TaskError: The backbone cannot read the job's inputs.
        """
        self._shape(job)

    def _shape(self, job: Job[Any]) -> PassShape:
        return job.shape if self._limits.checks_by_shape else ()

    def passes(self, waiting: Iterable[Job[Any]]) -> Iterator[Pass]:
        """Yield groups of jobs for one pass each: of one kind and bank, with limited clients."""
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
        """Return the result of each job of a pass; for a job that fails, its exception."""
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
        """Return the key of a check: bank and kind of job; if checked by shape, also the shape."""
        shapes = (
            repr([self._shape(job) for job in jobs]).encode()
            if self._limits.checks_by_shape
            else b""
        )
        return jobs[0].bank, type(jobs[0]), blake2b(shapes, digest_size=16).digest()

    def _way(self, jobs: Pass, key: Key) -> int:
        bank = jobs[0].bank
        if len(jobs) == 1 or not self._may_share(bank) or key in self._failed:
            return _ALONE
        if self._is_proved(key):
            self._batched[bank] += 1
            return _TOGETHER if self._batched[bank] % _RECHECK_EVERY else _BOTH
        first, paid = (
            key not in self._seen,
            self._checks_run[bank] < self._batched[bank] + _FREE_CHECKS,
        )
        self._seen.add(key)
        if first and not paid:
            return _ALONE
        self._checks_run[bank] += 1
        return _BOTH

    def _may_share(self, bank: Bank) -> bool:
        if bank not in self._reasons:
            self._reasons[bank] = self._limits.checks_by_shape or _is_exact(bank)
        return self._reasons[bank] and bank not in self._failed

    def _is_proved(self, key: Key) -> bool:
        enough = 1 if self._limits.checks_by_shape and not key[0].bf16 else _CHECKS_NEEDED
        return self._passed_checks[key] >= enough

    def _judge(self, key: Key, same: bool) -> None:
        """Record a check. If bits differ, stop batching: of the shape, or of the whole bank.

        The whole bank is affected if earlier checks had succeeded, and on a CPU.
        """
        if same:
            self._passed_checks[key] += 1
        elif self._is_proved(key):
            self._forbid_sharing(
                key[0], key[0], "batching has changed the last bits of a result after all"
            )
        elif self._limits.checks_by_shape:
            self._forbid_sharing(
                key, key[0], "batching changes the last bits of a result for some shapes of a pass"
            )
        else:
            self._forbid_sharing(
                key[0], key[0], "batching changes the last bits of a result on this machine"
            )

    def _forbid_sharing(self, what: Key | Bank, bank: Bank, why: str) -> None:
        self._failed.add(what)
        if (bank, why) not in self._warned:  # once
            warnings.warn(f"{why}: these runs train one at a time", RuntimeWarning, stacklevel=2)
        self._warned.add((bank, why))

    def _narrow(self, jobs: Pass, why: str) -> None:
        """Halve the number of clients in later passes of the bank, and warn."""
        most = self._most[jobs[0].bank] = max(1, sum(job.clients for job in jobs) // 2)
        warnings.warn(
            f"runs do not fit in one pass ({why}): later passes have at most {most} clients",
            RuntimeWarning,
            stacklevel=2,
        )


def _is_exact(bank: Bank) -> bool:
    """Return whether batching on a CPU keeps all bits: conditions (a) and (b) of the module."""
    layers = [m for m in bank.model.modules() if isinstance(m, FrozenLinear)]  # CPU only
    whole = all(size % _VECTOR_ENTRIES == 0 for layer in layers for size in layer.weight.shape)
    return not bank.bf16 and bool(layers) and whole


def _pass_results(jobs: Pass) -> tuple[list[Any], str]:
    """Return the results and an empty text, or no results and the error's text.

    The error itself is not returned: its traceback would keep the memory of the pass.
    """
    try:
        return jobs[0].compute_pass(jobs), ""
    except Exception as error:  # results() reruns the jobs one by one to find the failing one
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
    """Yield consecutive slices of total size at most ``most``; a larger item gets its own slice."""
    first = total = 0
    for index, size in enumerate(sizes):
        if index > first and total + size > most:
            yield slice(first, index)
            first, total = index, 0
        total += size
    yield slice(first, len(sizes))
