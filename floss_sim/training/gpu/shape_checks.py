"""Checks of bit-identity on a GPU: by the shape of a pass.

What it does. A GPU's matrix library chooses a kernel, and the way it splits sums, from the sizes
and the memory layout of the operands. These follow from the shape of a pass: for each job the
layout and the number of rows of each client in each step. Values do not matter. Another kernel
rounds nearly all values differently. So each shape is checked: once in float32, and three times in
bf16, whose rounding hides most differences. Jobs of a shape are batched only if no bit differed;
otherwise they are computed one at a time. A shape that fails does not affect other shapes.

A check costs one extra pass. If the clients of a cohort have different amounts of data, most shapes
occur only once. So checks are budgeted: a new shape is checked at its first occurrence only while
the bank has run at most about as many checks as batched passes. Otherwise its jobs are computed one
at a time, and the shape is checked at its second occurrence. Jobs are sorted before they are
grouped into passes, so that the same jobs give the same shapes in any order.

What it costs: 95 lines here, 125 of tests. What would keep it: a rung of 64 runs on a GPU in at
most 0.8 of the time of the bank, run after run (``gpu.py``, case ``rung-64``).
"""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

from floss_sim.training.bank.model import Bank
from floss_sim.training.side_by_side.bit_checks import BitChecks, Key, Pass
from floss_sim.training.side_by_side.training_job import TrainingJob

Shape = tuple[Any, ...]
_FREE_CHECKS = 3  # checks allowed before any pass has been batched


class ShapeChecks(BitChecks):
    """Groups of jobs that are computed in one pass on a GPU, and the checks that allow this.

    Args:
        max_clients: Largest number of clients of all runs in one pass.
    """

    where = "for some shapes of a pass"

    def __init__(self, max_clients: int) -> None:
        super().__init__(max_clients)
        self._seen: set[Key] = set()
        self._checks_run: Counter[Bank] = Counter()  # checks of a bank, repeated ones not counted
        self._shapes: WeakKeyDictionary[TrainingJob, Shape] = WeakKeyDictionary()

    def shape(self, job: TrainingJob) -> Shape:
        """Return the rows of each client in each step, the tokens of each step, and the layout."""
        if job not in self._shapes:
            rows = tuple(tuple(map(len, work.batches)) for work in job.party.works)
            self._shapes[job] = rows, _lengths(job), job.party.model.layout.digest
        return self._shapes[job]

    def key(self, jobs: Pass) -> Key:
        """Return the bank and the shape of the pass, as a digest."""
        shapes = repr([self.shape(job) for job in jobs]).encode()
        return jobs[0].bank, blake2b(shapes, digest_size=16).digest()

    def may_share(self, bank: Bank) -> bool:
        """Return True: every shape is checked by itself."""
        return True

    def checks_needed(self, key: Key) -> int:
        """Return 1, in bf16 as many as on a CPU."""
        return super().checks_needed(key) if key[0].bf16 else 1

    def affords_check(self, key: Key) -> bool:
        """Return whether the shape was seen before, or the bank has batched enough passes."""
        seen, bank = key in self._seen, key[0]
        self._seen.add(key)
        affords = seen or self._checks_run[bank] < self.batched[bank] + _FREE_CHECKS
        self._checks_run[bank] += affords
        return affords

    def stopped_by(self, key: Key) -> Key | Bank:
        """Return the shape alone."""
        return key


def _lengths(job: TrainingJob) -> tuple[int, ...]:
    """Return the tokens of the longest text in each step; empty if inputs are equally long."""
    party, inputs = job.party, job.bank.inputs
    if not inputs.length(party.x[:1]):
        return ()
    batches = [work.batches for work in party.works]
    steps = (
        np.concatenate([own[step] for own in batches if len(own) > step])
        for step in range(len(batches[0]))
    )
    return tuple(
        inputs.length(party.x.index_select(0, torch.from_numpy(chosen).to(party.x.device)))
        for chosen in steps
    )
