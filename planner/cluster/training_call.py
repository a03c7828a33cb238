"""Call that trains runs: slice after slice, until each has reached its round.

The owner of the store holds the lock of a run from the first slice to the last, so that two
searches on one store train nothing twice. A slice that comes back is committed if the run still
ends where the slice begins.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

from floss_sim.errors import FlossError, RecordError, RecordLockedError
from floss_sim.files import temporary_name
from floss_sim.records import RunFolder
from floss_sim.records.host_notes import append_notes, machines
from floss_sim.records.run_part import commit_part, read_part
from floss_sim.runs.config import RunConfig
from floss_sim.training.machine_type import MachineType
from planner.cluster.config_document import ConfigDocument
from planner.cluster.dispatcher import Call, Prepared
from planner.cluster.job import Answer, AnsweredRun, Job, JobRun
from planner.cluster.parcel import ParcelError, pack_parcel
from planner.cluster.travel import part_blobs, part_head, part_of, task_blobs
from planner.cluster.versions import versions
from planner.execution.curve_store import CurveStore

_OTHER_MACHINES = 20  # answers of workers of other types before a run is begun anew


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
    """

    store: CurveStore
    config: RunConfig
    rounds: int
    until_s: float
    future: Future[int | None] = field(default_factory=Future)
    trained: int = 0
    misses: int = 0
    folder: RunFolder | None = None
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
        self.folder = self._opened
        return True

    def lacks(self) -> int:
        """Return the rounds that are missing, of a run whose lock is held."""
        folder = self._locked()
        if folder.divergence() and folder.manifest().rounds < self.rounds:
            return -1
        return max(0, self.rounds - folder.manifest().rounds)

    def settle(self, result: int | None = None, error: BaseException | None = None) -> None:
        """Let the folder go, and tell the result; a new run without a round is removed."""
        held, self._held, self.folder = self._held, ExitStack(), None
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
            ParcelError: A blob is missing.
        """
        folder = self._locked()
        part = answered.part
        if part is not None and commit_part(folder, part_of(number, part, blobs)):
            self.trained += part.rounds - part.after
            notes = (n.model_dump(mode="json", exclude_none=True) for n in answered.notes)
            append_notes(folder.path, notes)
        if answered.diverged:
            folder.note_divergence(answered.diverged)

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


class TrainingCall:
    """Trains runs side by side in one worker.

    Args:
        runs: The runs, all of one task's files.
        mix_machines: Whether a run may continue on a machine of another type.
        on_failure: Function that is told a run that failed, and why.
    """

    def __init__(
        self,
        runs: Sequence[ClusterRun],
        mix_machines: bool,
        on_failure: Callable[[ClusterRun, str], None],
    ) -> None:
        self.runs = list(runs)
        self._mix_machines = mix_machines
        self._on_failure = on_failure

    def prepare(self, slice_s: float, files: Collection[str]) -> Prepared:
        """Return the job of the next slice, as :meth:`Call.prepare`."""
        going, waiting = [], []
        for run in self.runs:
            if run.future.cancelled() or time.monotonic() >= run.until_s:
                run.settle(run.trained)
            elif not run.lock():
                waiting.append(run)
            elif (lacking := run.lacks()) <= 0:
                run.settle(None if lacking < 0 else run.trained)
            else:
                going.append(run)
        others = [self._call([run]) for run in waiting]
        self.runs = going
        if not going:
            return Prepared(None, waiting=others)
        now_s = time.monotonic()
        seconds = min(slice_s, *(run.until_s - now_s for run in going))
        return Prepared(self._parcel(seconds, files), seconds, others)

    def _parcel(self, seconds: float, files: Collection[str]) -> bytes:
        first = self.runs[0]
        data, backbone = first.marks
        blobs: dict[str, bytes] = {}
        runs = []
        for number, run in enumerate(self.runs):
            made, own = self._job_run(number, run)
            runs.append(made)
            blobs |= own
        job = Job(
            kind="train",
            versions=versions(),
            device=first.store.device,
            data=data,
            backbone=backbone,
            seconds=seconds,
            diagnose=first.store.diagnose,
            runs=tuple(runs),
        )
        return pack_parcel(job.model_dump(mode="json"), blobs | task_blobs(first.config, files))

    def _job_run(self, number: int, run: ClusterRun) -> tuple[JobRun, dict[str, bytes]]:
        folder = run.folder
        has_rounds = folder is not None and folder.manifest().rounds > 0
        part = read_part(folder, models=False) if folder is not None and has_rounds else None
        made = JobRun(
            run=run.run,
            trajectory=run.description["trajectory"],
            config=ConfigDocument.of(run.config),
            rounds=run.rounds,
            part=None if part is None else part_head(part),
            machine=run.machine() if part and not self._mix_machines else None,
        )
        return made, {} if part is None else part_blobs(number, part)

    def take(self, answer: Answer, blobs: dict[str, bytes]) -> Sequence[Call]:
        """Commit what came back; return the calls for the rest."""
        if [run.run for run in self.runs] != [answered.run for answered in answer.runs]:
            raise ParcelError("the answer is that of another job")
        again: list[Call] = []
        rest: list[ClusterRun] = []
        for number, (run, answered) in enumerate(zip(self.runs, answer.runs, strict=True)):
            if answered.other_machine:
                run.misses += 1
                if run.misses >= _OTHER_MACHINES:
                    run.restart()
                again.append(self._call([run]))
                continue
            run.commit(number, answered, blobs)
            rest.append(run)
        self.runs = rest
        return [self, *again] if rest else again

    def parts(self) -> Sequence[Call]:
        """Return a call for each run, so that one that fails ends no other."""
        return [self._call([run]) for run in self.runs]

    def fail(self, reason: str) -> None:
        """End the runs, which have failed."""
        for run in self.runs:
            self._on_failure(run, reason)
            run.settle(None)

    def refuse(self, error: BaseException) -> None:
        """End the runs with an error."""
        for run in self.runs:
            run.settle(error=error)

    def _call(self, runs: Sequence[ClusterRun]) -> TrainingCall:
        return TrainingCall(runs, self._mix_machines, self._on_failure)
