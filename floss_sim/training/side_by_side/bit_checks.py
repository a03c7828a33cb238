"""Checks of bit-identity: which jobs may be computed in one batched pass.

A *check* computes the jobs of a pass twice, batched and one at a time, and compares all bits of the
results. Jobs are batched without a check only after checks have found no difference.

The matrix products of the frozen layers are computed for several runs together, and so are the
operations that treat each example separately. Adapters and heads are multiplied run by run
(``bank/layers.py``). On a CPU a run then has the bits that it has alone if two conditions hold:

(a) A row of a frozen product does not depend on the other rows. This is true for oneDNN in float32
    (``bank/onednn.py``).
(b) The values computed for a row do not depend on where the row lies in memory. This is true if
    every layer width is a multiple of 32 entries, the block that torch's SIMD code handles at once.
    torch uses different code for the entries after the last full block, and for operands that do
    not begin at a block boundary.

If both hold, the first three passes over a bank are checked, and later ones are batched without a
check. If one fails, runs train one at a time. Checks would prove little there: the code for
left-over entries rounds only some values differently, so a check can pass by chance. (A Llama of
inner width 24 differed in all 12 shapes of a pass that were tried, but in 4 of them not with the
first input values.)

Checks are evidence, not proof. Every 100th batched pass of a bank is checked as well. If a bit
differs, the runs of that bank train one at a time from then on, and the runs that were batched
since the last identical check are doubtful: their last bits may not be those that they have alone.
"""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from floss_sim.training.bank.batched_sgd import train_together
from floss_sim.training.bank.model import Bank
from floss_sim.training.bank.onednn import FrozenLinear
from floss_sim.training.side_by_side.training_job import TrainingJob

_VECTOR_ENTRIES = 32  # float32 entries that torch processes at once: two AVX-512 registers
_CHECKS_NEEDED = 3  # identical checks before batching is trusted
_RECHECK_EVERY = 100  # batched passes of a bank from one repeated check to the next
_ALONE, _BOTH, _TOGETHER = range(3)  # how a pass is computed; _BOTH is a check
Pass = Sequence[TrainingJob]
Result = torch.Tensor | Exception
Key = tuple[Bank, bytes]


class Doubt(NamedTuple):
    """A run whose last bits may differ from those that it has alone.

    Attributes:
        folder: Folder of the run.
        first_round: Round from which on it is doubtful.
        why: Reason.
    """

    folder: Path
    first_round: int
    why: str


class BitChecks:
    """Groups of jobs that are computed in one pass, and the checks that allow this.

    Args:
        max_clients: Largest number of clients of all runs in one pass.

    Attributes:
        where: Where batching fails, if a first check fails; for messages.
    """

    where = "on this machine"

    def __init__(self, max_clients: int) -> None:
        self.batched: Counter[Bank] = Counter()  # passes of a bank after its checks succeeded
        self._max_clients = max_clients
        self._exact: dict[Bank, bool] = {}
        self._passed_checks: Counter[Key] = Counter()
        self._failed: set[Key | Bank] = set()  # shapes and banks that failed a check
        self._warned: set[tuple[Bank, str]] = set()
        self._most: dict[Bank, int] = {}  # clients in a pass, after a larger one did not fit
        # First round of each run that was batched since the last identical check.
        self._unchecked: defaultdict[Key, dict[Path, int]] = defaultdict(dict)
        self._doubts: list[Doubt] = []

    def passes(self, waiting: Iterable[TrainingJob]) -> Iterator[Pass]:
        """Yield groups of jobs for one pass each: of one bank, with limited clients."""
        groups: dict[Bank, list[TrainingJob]] = {}
        for job in waiting:
            groups.setdefault(job.bank, []).append(job)
        for bank, jobs in groups.items():
            jobs.sort(key=self.shape)
            most = min(self._most.get(bank, self._max_clients), *(job.chunk for job in jobs))
            for part in _pass_slices([job.clients for job in jobs], most):
                yield jobs[part]

    def results(self, jobs: Pass, folders: Sequence[Path]) -> list[Result]:
        """Return each client's values after training, (C, N) for each job, or the job's error.

        Args:
            jobs: The jobs of a pass.
            folders: The folder of each job's run.
        """
        key = self.key(jobs)
        way = self._way(jobs, key)
        together, failed = ([], "") if way == _ALONE else _pass_results(jobs)
        if together and way == _TOGETHER:
            for folder, job in zip(folders, jobs, strict=True):
                self._unchecked[key].setdefault(folder, job.round)
            return list(together)
        alone = [job.result() for job in jobs]
        if any(isinstance(result, Exception) for result in alone):
            return alone  # an error says nothing about bits
        if failed:
            self._narrow(jobs, failed)
        elif together:
            self._judge(key, all(map(_has_same_bits, together, alone)))
        return alone

    def take_doubts(self) -> list[Doubt]:
        """Return the runs that have become doubtful since the last call."""
        found, self._doubts = self._doubts, []
        return found

    def shape(self, job: TrainingJob) -> tuple[Any, ...]:
        """Return what the shape of a job's pass depends on, sortable; empty on a CPU."""
        return ()

    def key(self, jobs: Pass) -> Key:
        """Return what a check of these jobs is evidence for: all passes of a bank on a CPU."""
        return jobs[0].bank, b""

    def may_share(self, bank: Bank) -> bool:
        """Return whether passes over a bank can be batched at all: conditions (a) and (b)."""
        if bank not in self._exact:
            self._exact[bank] = _is_exact(bank)
        return self._exact[bank]

    def checks_needed(self, key: Key) -> int:
        """Return the number of identical checks before batching is trusted."""
        return _CHECKS_NEEDED

    def affords_check(self, key: Key) -> bool:
        """Return whether a pass that is not yet trusted is checked, rather than computed alone."""
        return True

    def stopped_by(self, key: Key) -> Key | Bank:
        """Return what is no longer batched after a failed first check: a bank, or one shape."""
        return key[0]

    def _way(self, jobs: Pass, key: Key) -> int:
        bank = key[0]
        if len(jobs) == 1 or not self.may_share(bank) or self._failed & {bank, key}:
            return _ALONE
        if self._is_proved(key):
            self.batched[bank] += 1
            return _TOGETHER if self.batched[bank] % _RECHECK_EVERY else _BOTH
        return _BOTH if self.affords_check(key) else _ALONE

    def _is_proved(self, key: Key) -> bool:
        return self._passed_checks[key] >= self.checks_needed(key)

    def _judge(self, key: Key, same: bool) -> None:
        """Record a check. If bits differ, stop batching; after earlier trust, for the whole bank.

        Runs that were batched since the last identical check are then doubtful.
        """
        bank = key[0]
        if same:
            self._passed_checks[key] += 1
            self._unchecked.pop(key, None)
        elif self._is_proved(key):
            why = "batching has changed the last bits of a result after all"
            self._stop_sharing(bank, bank, why)
            for own in [each for each in self._unchecked if each[0] is bank]:
                rounds = self._unchecked.pop(own)
                self._doubts += [Doubt(run, first, why) for run, first in rounds.items()]
        else:
            why = f"batching changes the last bits of a result {self.where}"
            self._stop_sharing(self.stopped_by(key), bank, why)

    def _stop_sharing(self, what: Key | Bank, bank: Bank, why: str) -> None:
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


def _pass_results(jobs: Pass) -> tuple[list[torch.Tensor], str]:
    """Return the results and an empty text, or no results and the error's text.

    The error itself is not returned: its traceback would keep the memory of the pass.
    """
    try:
        return train_together([job.party for job in jobs]), ""
    except Exception as error:  # results() reruns the jobs one by one to find the failing one
        return [], str(error) or type(error).__name__


def _has_same_bits(one: torch.Tensor, other: Result) -> bool:
    if isinstance(other, Exception):
        raise TypeError("an error has no bits")
    return torch.equal(one.view(torch.int32), other.view(torch.int32))


def _pass_slices(sizes: Sequence[int], most: int) -> Iterator[slice]:
    """Yield consecutive slices of total size at most ``most``; a larger item gets its own slice."""
    first = total = 0
    for index, size in enumerate(sizes):
        if index > first and total + size > most:
            yield slice(first, index)
            first, total = index, 0
        total += size
    yield slice(first, len(sizes))
