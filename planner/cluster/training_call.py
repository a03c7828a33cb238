"""Call that trains runs: slice after slice, until each has reached its round.

The owner of the store holds the lock of a run from the first slice to the last, so that two
searches on one store train nothing twice. A slice that comes back is committed if the run still
ends where the slice begins.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from floss_sim.records.run_part import read_part
from floss_sim.training.machine_type import MachineType
from planner.cluster.call import Call, Prepared
from planner.cluster.cluster_run import ClusterRun
from planner.cluster.config_document import ConfigDocument
from planner.cluster.job import Answer, Job, JobRun
from planner.cluster.parcel import ParcelError, pack_parcel
from planner.cluster.travel import part_blobs, part_head, task_blobs
from planner.cluster.versions import versions

# Answers of workers of other machine types before a run is begun anew: where no worker of its own
# type has answered yet, and where one has.
_FEW_MISSES, _MANY_MISSES = 4, 40
_DELAY_S = 0.5  # for each miss, before the next call
_LONGEST_DELAY_S = 10.0
_LONGER = 4  # times as long a slice after an answer without a round; a call made again has half


@dataclass
class TrainingTerms:
    """What the calls of one search share.

    Attributes:
        mix_machines: Whether a begun run may continue on a machine of another type.
        failures: Reasons of runs that failed, by trajectory fingerprint.
        machines: Machine types of the workers that have answered.
        restarts: Number of runs that were begun anew.
    """

    mix_machines: bool = False
    failures: dict[str, str] = field(default_factory=dict)
    machines: set[MachineType] = field(default_factory=set)
    restarts: int = 0


class TrainingCall:
    """Trains runs side by side in one worker.

    Args:
        runs: The runs, all of one task's files.
        terms: What the calls of the search share.
        stalls: Answers in turn without a round: the slice may have been too short for one.
    """

    def __init__(self, runs: Sequence[ClusterRun], terms: TrainingTerms, stalls: int = 0) -> None:
        self.runs = list(runs)
        self._terms = terms
        self._stalls = stalls

    @property
    def delay_s(self) -> float:
        """Seconds to wait before the next job: a worker of the right type may be busy."""
        return min(_LONGEST_DELAY_S, _DELAY_S * max((run.misses for run in self.runs), default=0))

    def prepare(self, slice_s: float, files: Collection[str]) -> Prepared:
        """Return the job of the next slice, as :meth:`Call.prepare`."""
        going, waiting = [], []
        for run in self.runs:
            if run.future.cancelled() or run.is_over():
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
        slice_s *= _LONGER**self._stalls
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
            own=first.store.own,
            runs=tuple(runs),
        )
        return pack_parcel(job.model_dump(mode="json"), blobs | task_blobs(first.config, files))

    def _job_run(self, number: int, run: ClusterRun) -> tuple[JobRun, dict[str, bytes]]:
        folder = run.folder
        part = None
        if folder is not None and run.has_rounds():
            part = read_part(folder, models=False, record=run.record)
        made = JobRun(
            run=run.run,
            trajectory=run.description["trajectory"],
            config=ConfigDocument.of(run.config),
            rounds=run.rounds,
            part=None if part is None else part_head(part),
            machine=self._machine(run),
        )
        return made, {} if part is None else part_blobs(number, part)

    def _machine(self, run: ClusterRun) -> MachineType | None:
        """Return the machine type on which a run must continue; None: any."""
        return run.machine() if run.has_rounds() and not self._terms.mix_machines else None

    def take(self, answer: Answer, blobs: dict[str, bytes]) -> Sequence[Call]:
        """Commit what came back; return the calls for the rest."""
        if [run.run for run in self.runs] != [answered.run for answered in answer.runs]:
            raise ParcelError("the answer is that of another job")
        if answer.machine is not None:
            self._terms.machines.add(answer.machine)
        again: list[Call] = []
        rest: list[ClusterRun] = []
        moved = False
        for number, (run, answered) in enumerate(zip(self.runs, answer.runs, strict=True)):
            if answered.other_machine:
                self._note_miss(run)
                again.append(self._call([run]))
                continue
            before, run.misses = run.trained, 0
            run.commit(number, answered, blobs)
            moved |= run.trained > before or bool(answered.diverged) or run.is_over()
            rest.append(run)
        self._stalls = 0 if moved else self._stalls + 1
        if not (moved or again):
            raise ParcelError("a worker trained no round")
        self.runs = rest
        return [self, *again] if rest else again

    def _note_miss(self, run: ClusterRun) -> None:
        """Begin a run anew that no worker of its machine type continues.

        Raises:
            ParcelError: Any machine may continue the run.
        """
        if self._machine(run) is None:
            raise ParcelError("a worker did not train a run that any machine may train")
        run.misses += 1
        most = _MANY_MISSES if run.machine() in self._terms.machines else _FEW_MISSES
        if run.misses >= most:
            run.restart()
            self._terms.restarts += 1

    def parts(self) -> Sequence[Call]:
        """Return a call for each run, so that one that fails ends no other."""
        return [TrainingCall([run], self._terms, self._stalls) for run in self.runs]

    def fail(self, reason: str) -> None:
        """End the runs, which have failed."""
        for run in self.runs:
            self._terms.failures[run.run] = reason
            run.settle(None)

    def refuse(self, error: BaseException) -> None:
        """End the runs with an error."""
        for run in self.runs:
            run.settle(error=error)

    def _call(self, runs: Sequence[ClusterRun]) -> TrainingCall:
        return TrainingCall(runs, self._terms)
