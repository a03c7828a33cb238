"""The worker's side: one function of bytes that trains, measures or tests, and returns bytes.

It runs our functions alone, on values that are checked on arrival. Calls in one process follow one
another, because runs of a process share their passes.
"""

from __future__ import annotations

import math
import shutil
import threading
import time
from collections.abc import Mapping
from typing import Any

from floss_sim import documents
from floss_sim.errors import ConfigError, FlossError, NonFiniteUpdateError
from floss_sim.malloc import keep_freed_memory
from floss_sim.plain_text import one_line
from floss_sim.records import RunFolder
from floss_sim.records.host_notes import notes_of_part
from floss_sim.records.on_test import pack_own
from floss_sim.records.run_part import commit_part, read_part
from floss_sim.runs.config import RunConfig
from floss_sim.tasks import Task
from floss_sim.training import measure_on_test, resolve_device
from floss_sim.training.machine_type import machine_type
from planner.cluster.job import Answer, AnsweredRun, HostNote, Job, JobRun
from planner.cluster.parcel import pack_parcel, unpack_parcel
from planner.cluster.transport import read_job, write_answer
from planner.cluster.travel import models_of, part_blobs, part_head, part_of
from planner.cluster.versions import version_problem
from planner.cluster.worker_files import LackingError, scratch, task_of
from planner.execution.curve_store import CurveStore
from planner.execution.step_measurement import load_learner, measure_step

_ONE_CALL = threading.Lock()
_Answers = tuple[AnsweredRun, ...]


class _RefusedError(FlossError):
    """No worker like this one can do the job."""


def answer(parcel: bytes) -> bytes:
    """Return the answer to a job, as a parcel; errors are answers, too.

    Args:
        parcel: The job, a parcel with the head :class:`planner.cluster.job.Job`.
    """
    with _ONE_CALL:
        began_s = time.monotonic()
        made, blobs = _answered(parcel)
        busy_s = time.monotonic() - began_s
        head = made.model_copy(update={"busy_s": busy_s}).model_dump(mode="json")
        return write_answer(parcel, _packed(head, blobs))


def _packed(head: Mapping[str, Any], blobs: Mapping[str, bytes]) -> bytes:
    try:
        return pack_parcel(head, blobs)
    except FlossError as error:
        failed = Answer(status="failed", reason=_line(error))
        return pack_parcel(failed.model_dump(mode="json"))


def _answered(parcel: bytes) -> tuple[Answer, dict[str, bytes]]:
    try:
        head, blobs = unpack_parcel(read_job(parcel))
        return _work(documents.validate(head, Job, ConfigError, "job"), blobs)
    except LackingError as lacking:
        return Answer.model_validate({"status": "lacks", "lacks": lacking.names}), {}
    except _RefusedError as error:
        return Answer(status="refused", reason=_line(error)), {}
    except Exception as error:  # whatever it is, the owner of the job decides
        return Answer(status="failed", reason=_line(error)), {}


def _line(error: BaseException) -> str:
    text = " ".join(one_line(str(error)).split())
    named = isinstance(error, FlossError) and text
    return (text if named else f"{type(error).__name__}: {text}")[:2000]


def _work(job: Job, blobs: Mapping[str, bytes]) -> tuple[Answer, dict[str, bytes]]:
    if problem := version_problem(job.versions):
        raise _RefusedError(problem)
    try:
        device = resolve_device(job.device)
    except ConfigError as error:
        raise _RefusedError(f"a worker: {error}") from None
    if job.kind == "check":
        return Answer(status="done", device=device, machine=machine_type(device)), {}
    keep_freed_memory()
    runs = _Runs(job, blobs, device)
    return runs.answer()


class _Runs:
    """The runs of a job, in the scratch folder of this process.

    Args:
        job: The job.
        blobs: Blobs of its parcel.
        device: Device that trains.
    """

    def __init__(self, job: Job, blobs: Mapping[str, bytes], device: str) -> None:
        self._job = job
        self._blobs = blobs
        self._device = device
        self._store = CurveStore(scratch(), device, job.diagnose, job.own)
        self._machine = machine_type(device)

    def answer(self) -> tuple[Answer, dict[str, bytes]]:
        """Return the answer to the job, with its blobs."""
        configs = [self._config(run) for run in self._job.runs]
        done: dict[str, Any] = {"runs": ()}
        blobs: dict[str, bytes] = {}
        if self._job.kind == "load":
            load_learner(configs[0], self._device)
        elif self._job.kind == "measure":
            done["measured"] = _measured(configs[0], self._device)
        elif self._job.kind == "test":
            done["runs"] = tuple(map(self._tested, self._job.runs, configs, range(len(configs))))
        else:
            done["runs"], blobs = self._trained(configs)
        made = Answer(status="done", device=self._device, machine=self._machine)
        return made.model_copy(update=done), blobs

    def _config(self, run: JobRun) -> RunConfig:
        """Return the configuration of a run, which is the same trajectory here.

        Raises:
            _RefusedError: It is another one; the message names what differs.
        """
        config = run.config.config(_shared_task(self._job, run, self._blobs))
        found = self._store.describe(config)["trajectory"]
        wanted = run.trajectory
        differing = sorted(k for k in {*found, *wanted} if found.get(k) != wanted.get(k))
        if differing:
            told = "; ".join(f"{k} {wanted.get(k)} here {found.get(k)}" for k in differing)
            raise _RefusedError(f"a worker would train another run: {told}")
        return config

    def _trained(self, configs: list[RunConfig]) -> tuple[_Answers, dict[str, bytes]]:
        limit_s = math.inf if self._job.seconds is None else self._job.seconds
        able = [
            number
            for number, run in enumerate(self._job.runs)
            if run.machine in (None, self._machine)
        ]
        folders = {number: self._store.create(configs[number]) for number in able}
        try:
            for number, folder in folders.items():
                self._restore(number, folder)
            jobs = [(configs[number], self._job.runs[number].rounds) for number in able]
            results = self._store.extend_all(jobs, time.monotonic() + limit_s)
            return self._answers(folders, dict(zip(able, results, strict=True)))
        finally:
            for folder in folders.values():
                shutil.rmtree(folder.path, ignore_errors=True)

    def _restore(self, number: int, folder: RunFolder) -> None:
        head = self._job.runs[number].part
        if head is not None:
            with folder.lock():
                commit_part(folder, part_of(number, head, self._blobs), models=False)

    def _answers(
        self, folders: Mapping[int, RunFolder], results: Mapping[int, int | Exception]
    ) -> tuple[tuple[AnsweredRun, ...], dict[str, bytes]]:
        made: list[AnsweredRun] = []
        blobs: dict[str, bytes] = {}
        for number, run in enumerate(self._job.runs):
            if number not in folders:
                made.append(AnsweredRun(run=run.run, other_machine=True))
                continue
            folder, result = folders[number], results[number]
            if isinstance(result, Exception) and not isinstance(result, NonFiniteUpdateError):
                raise result
            after = run.part.rounds if run.part else 0
            part = read_part(folder, after) if folder.manifest().rounds > after else None
            blobs |= part_blobs(number, part) if part else {}
            tested = folder.own_on_test(range(after + 1, part.rounds + 1)) if part else {}
            notes = [HostNote.model_validate(note) for note in notes_of_part(folder.path)]
            made.append(
                AnsweredRun(
                    run=run.run,
                    part=None if part is None else part_head(part),
                    diverged=str(result) if isinstance(result, Exception) else "",
                    notes=tuple(notes),
                    own_on_test={number: pack_own(right_M) for number, right_M in tested.items()},
                )
            )
        return tuple(made), blobs

    def _tested(self, run: JobRun, config: RunConfig, number: int) -> AnsweredRun:
        models = models_of(number, self._blobs)
        blobs = [models[round_] for round_ in run.models]
        found = measure_on_test(config, blobs, self._device)
        return AnsweredRun(run=run.run, on_test=tuple(model.to_json() for model in found))


_tasks: dict[tuple[str, str, str], Task] = {}  # of this process, so that backbones stay loaded


def _shared_task(job: Job, run: JobRun, blobs: Mapping[str, bytes]) -> Task:
    if job.data is None or job.backbone is None:
        raise ConfigError("the job does not say which data and which backbone it needs")
    key = (run.config.task.model_dump_json(), job.data, job.backbone)
    if key not in _tasks:
        _tasks[key] = task_of(run.config.task, job.data, job.backbone, blobs)
    return _tasks[key]


def _measured(config: RunConfig, device: str) -> dict[str, Any]:
    step, measuring_s, peak_bytes = measure_step(config, device)
    return {**step.to_json(), "measuring_s": measuring_s, "peak_memory_bytes": peak_bytes}
