"""Jobs that come to a number, for tests of who shares a pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from floss_sim.training.side_by_side import bit_checks
from floss_sim.training.side_by_side.bit_checks import BitChecks

ALONE, BOTH, TOGETHER = [1, 1], [2, 1, 1], [2]  # jobs computed at once, one time after another


@dataclass(frozen=True, eq=False)
class Backbone:
    """As much of a bank as decides who shares."""

    bf16: bool = False
    exact: bool = True


@dataclass(frozen=True, eq=False)
class Small:
    """Comes to ``rows``; ``shifted`` more and ``error`` are what goes wrong in shared passes."""

    rows: int
    bank: Any
    clients: int = 1
    shifted: int = 0
    error: Exception | None = None
    chunk: int = 8
    round: int = 1

    @property
    def party(self) -> Small:
        return self

    def result(self) -> torch.Tensor | Exception:
        try:
            return compute([self])[0]
        except Exception as error:
            return error


passes: list[int] = []


def compute(jobs: Sequence[Small]) -> list[torch.Tensor]:
    passes.append(len(jobs))
    for job in jobs:
        if job.error and (len(jobs) > 1 or not isinstance(job.error, MemoryError)):
            raise job.error
    shifts = [job.shifted if len(jobs) > 1 else 0 for job in jobs]
    return [torch.tensor(float(job.rows + more)) for job, more in zip(jobs, shifts, strict=True)]


class Play:
    """Has pairs of jobs computed."""

    def __init__(self, checks: BitChecks, patch: pytest.MonkeyPatch, bf16: bool = False) -> None:
        self.checks = checks
        passes.clear()
        self.bank = Backbone(bf16)
        self.said: list[str] = []
        patch.setattr(bit_checks, "train_together", compute)
        patch.setattr(bit_checks, "_is_exact", lambda bank: bank.exact)
        patch.setattr(bit_checks.warnings, "warn", lambda text, *_, **__: self.said.append(text))

    def pair(self, rows: int, folders: Sequence[str] = ("a", "b"), **said: Any) -> list[int]:
        """Return how many jobs were computed at once, one time after another."""
        passes.clear()
        first = Small(0, self.bank, round=said.get("round", 1))
        jobs = {first: folders[0], Small(rows, self.bank, **said): folders[1]}
        self.results: list[Any] = []
        for part in self.checks.passes(jobs):
            found = self.checks.results(part, [Path(jobs[job]) for job in part])
            self.results += [r if isinstance(r, Exception) else int(r) for r in found]
        return list(passes)
