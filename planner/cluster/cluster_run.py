"""Run on a cluster: its folder in the store, locked while workers train it, and what they send."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import FlossError, RecordError, RecordLockedError
from floss_sim.files import temporary_name
from floss_sim.records import RunFolder, RunRecord
from floss_sim.records.host_notes import append_notes, machines
from floss_sim.records.run_part import RunPart, commit_part
from floss_sim.runs.config import RunConfig
from floss_sim.training.machine_type import MachineType
from planner.cluster.job import AnsweredRun
from planner.cluster.part_check import check_own_tests, check_part
from planner.cluster.travel import part_of
from planner.execution.curve_store import CurveStore


@dataclass
class ClusterRun:
    """A run on its way to a round.

    Attributes:
        store: Store of the run.
        config: The run.
        rounds: Round to reach.
        until_s: Instant of ``time.monotonic`` after which no further round is begun.
        future: Gets the number of rounds that were trained, None for a run that ended before.
        trained: Rounds trained so far.
        misses: Answers of workers of another machine type.
        folder: Folder of the run while its lock is held; else None.
        record: Committed tables while the lock is held; else None.
    """

    store: CurveStore
    config: RunConfig
    rounds: int
    until_s: float
    future: Future[int | None] = field(default_factory=Future)
    trained: int = 0
    misses: int = 0
    folder: RunFolder | None = None
    record: RunRecord | None = None
    _opened: RunFolder | None = None
    _held: ExitStack = field(default_factory=ExitStack)
    _description: dict[str, Any] | None = None

    @property
    def description(self) -> dict[str, Any]:
        """Content of the run's ``run.json``."""
        if self._description is None:
            self._description = self.store.describe(self.config)
        return self._description

    @property
    def run(self) -> str:
        """Trajectory fingerprint."""
        return str(self.description["fingerprint"])

    @property
    def marks(self) -> tuple[str, str]:
        """Marks of data and backbone."""
        return self.config.task.content.digest, self.config.task.backbone_hash

    def lock(self) -> bool:
        """Hold the folder's lock until the run is settled; return False if another process does."""
        if self.folder is not None:
            return True
        self._opened = self._opened or self.store.create(self.config)
        try:
            self._held.enter_context(self._opened.lock())
        except RecordLockedError:
            return False
        self.folder, self.record = self._opened, self._opened.record()
        return True

    def is_over(self) -> bool:
        """Return whether no further round is to be begun."""
        return time.monotonic() >= self.until_s

    def has_rounds(self) -> bool:
        """Return whether a run whose lock is held has a committed round."""
        return self._locked().manifest().rounds > 0

    def lacks(self) -> int:
        """Return the rounds that are missing, of a run whose lock is held."""
        folder = self._locked()
        if folder.divergence() and folder.manifest().rounds < self.rounds:
            return -1
        return max(0, self.rounds - folder.manifest().rounds)

    def settle(self, result: int | None = None, error: BaseException | None = None) -> None:
        """Let the folder go, and tell the result; a new run without a round is removed."""
        held, self._held, self.folder, self.record = self._held, ExitStack(), None, None
        if result is None or error is not None:
            why = error or FlossError("no round was trained")
            held.__exit__(type(why), why, why.__traceback__)
        held.close()
        if self.future.done():
            return
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)

    def commit(self, number: int, answered: AnsweredRun, blobs: Mapping[str, bytes]) -> None:
        """Commit what a worker trained.

        Args:
            number: Number of the run in the job.
            answered: Answer about the run.
            blobs: Blobs of the answer's parcel.

        Raises:
            RecordError: The rounds contradict the run, or cannot be written.
            ParcelError: A blob is missing or is none of this run.
        """
        folder = self._locked()
        if answered.part is not None:
            part = part_of(number, answered.part, blobs)
            check_part(self.config, part, self.store.recording())
            tested = self._own_tests(part, answered)
            if tested and folder.manifest().rounds == part.after:
                folder.note_own_on_test(tested)
            if whole := commit_part(folder, part, self.record):
                self.record = whole
                self.trained += part.rounds - part.after
                notes = (n.model_dump(mode="json", exclude_none=True) for n in answered.notes)
                append_notes(folder.path, notes)
        if answered.diverged:
            folder.note_divergence(answered.diverged)

    def _own_tests(self, part: RunPart, answered: AnsweredRun) -> dict[int, NDArray[np.float64]]:
        if not self.store.tests_in_training(self.config):
            return {}
        return check_own_tests(self.config, part, answered.own_on_test)

    def machine(self) -> MachineType | None:
        """Return the machine type that trained the last rounds; None if it is not known."""
        folder = self._locked()
        found = machines(folder.path, folder.manifest().rounds)
        with suppress(ValueError):
            return MachineType.model_validate(found[-1][1]) if found else None
        return None

    def restart(self) -> None:
        """Begin the run anew: what is committed is removed, in one rename."""
        folder = self._locked()
        aside = folder.path.with_name(temporary_name(folder.path.name))
        folder.path.rename(aside)
        self._held.close()
        self.folder, self._opened, self.misses, self.trained = None, None, 0, 0
        shutil.rmtree(aside, ignore_errors=True)
        if not self.lock():
            raise RecordError(f"{folder.path} is being written by another process")

    def _locked(self) -> RunFolder:
        if self.folder is None:
            raise RecordError("the lock of a run is not held")
        return self.folder
