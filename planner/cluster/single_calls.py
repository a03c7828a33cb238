"""Calls with one answer: measurements, loads, and tests of models."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any

from floss_sim.analysis.on_test import predictions_by_example
from floss_sim.errors import RecordLockedError
from floss_sim.records.on_test import ModelOnTest, read_model
from floss_sim.runs.config import RunConfig
from planner.cluster.call import Call, Prepared
from planner.cluster.config_document import ConfigDocument
from planner.cluster.job import Answer, Job, JobRun, Kind
from planner.cluster.parcel import ParcelError, pack_parcel
from planner.cluster.travel import model_blobs, task_blobs
from planner.cluster.versions import versions
from planner.execution.curve_store import CurveStore, last_models

_EXPECTED_S = 60.0  # seconds


class SingleCall:
    """A call with one answer, which is the result of a future.

    Attributes:
        future: Gets the result; None if the call has failed.
        failure: Reason of a failure; else empty.
    """

    delay_s = 0.0
    failure = ""

    def __init__(self) -> None:
        self.future: Future[Any] = Future()

    def take(self, answer: Answer, blobs: dict[str, bytes]) -> Sequence[Call]:
        """Tell the answer."""
        self.future.set_result(answer)
        return ()

    def fail(self, reason: str) -> None:
        """End the call, which has failed."""
        self.failure = reason
        self._end()
        if not self.future.done():
            self.future.set_result(None)

    def refuse(self, error: BaseException) -> None:
        """End the call with an error."""
        self._end()
        if not self.future.done():
            self.future.set_exception(error)

    def _end(self) -> None:
        """Let go what the call holds."""


class ProbeCall(SingleCall):
    """Loads what a run trains with, or measures a step of it.

    Args:
        kind: ``load`` or ``measure``.
        store: Store of the runs, for the device.
        config: The run.
    """

    def __init__(self, kind: Kind, store: CurveStore, config: RunConfig) -> None:
        super().__init__()
        self._kind = kind
        self._store = store
        self._config = config

    def prepare(self, slice_s: float, files: Collection[str]) -> Prepared:
        """Return the job, as :meth:`Call.prepare`."""
        run = job_run(self._store, self._config, rounds=0)
        parcel = job_parcel(self._kind, self._store, self._config, run, files, {})
        return Prepared(parcel, _EXPECTED_S)

    def parts(self) -> Sequence[Call]:
        """Return the call itself."""
        return (self,)


class TestCall(SingleCall):
    """Tests the last models of a run; what is measured is kept in the store.

    Args:
        store: Store of the run.
        config: The run.
        rounds: Its length.
    """

    __test__ = False  # it is no test of pytest's

    def __init__(self, store: CurveStore, config: RunConfig, rounds: int) -> None:
        super().__init__()
        self._store = store
        self._config = config
        self._rounds = rounds
        self._held = ExitStack()
        self._folder = store.folder(config)
        self._missing: tuple[int, ...] = ()

    def prepare(self, slice_s: float, files: Collection[str]) -> Prepared:
        """Return the job, as :meth:`Call.prepare`."""
        try:
            if not self._missing:
                self._held.enter_context(self._folder.lock())
        except RecordLockedError:
            return Prepared(None, waiting=(self,))
        part = last_models(self._folder, self._rounds)
        found = self._folder.models_on_test(part)
        self._missing = tuple(number for number in part if number not in found)
        if not self._missing:
            self._finish({})
            return Prepared(None)
        run = job_run(self._store, self._config, self._rounds, models=self._missing)
        models = {number: self._folder.model(number) for number in self._missing}
        blobs = model_blobs(0, models)
        parcel = job_parcel("test", self._store, self._config, run, files, blobs)
        return Prepared(parcel, _EXPECTED_S)

    def take(self, answer: Answer, blobs: dict[str, bytes]) -> Sequence[Call]:
        """Keep the results, and tell them."""
        count = int(predictions_by_example(self._config.task).sum())
        made = [read_model(values) for run in answer.runs for values in run.on_test]
        found = [model for model in made if model is not None]
        if len(found) != len(self._missing):
            raise ParcelError("the answer lacks results of models")
        if not all(_is_whole(model, count) for model in found):
            raise ParcelError("the answer has results of another test split")
        self._finish(dict(zip(self._missing, found, strict=True)))
        return ()

    def _finish(self, measured: dict[int, ModelOnTest]) -> None:
        part = last_models(self._folder, self._rounds)
        models = self._folder.ensure_on_test(part, lambda blobs: list(measured.values()))
        self._held.close()
        self.future.set_result(self._store.hits(self._config, models))

    def parts(self) -> Sequence[Call]:
        """Return the call itself."""
        return (self,)

    def _end(self) -> None:
        self._held.close()


def _is_whole(model: ModelOnTest, count: int) -> bool:
    return math.isfinite(model.accuracy + model.loss) and len(model.right) == count


def job_run(
    store: CurveStore, config: RunConfig, rounds: int, models: tuple[int, ...] = ()
) -> JobRun:
    """Return a run of a job, without rounds."""
    description = store.describe(config)
    return JobRun(
        run=description["fingerprint"],
        trajectory=description["trajectory"],
        config=ConfigDocument.of(config),
        rounds=rounds,
        models=models,
    )


def job_parcel(
    kind: Kind,
    store: CurveStore,
    config: RunConfig,
    run: JobRun,
    files: Collection[str],
    blobs: dict[str, bytes],
) -> bytes:
    """Return the parcel of a job with one run.

    Args:
        kind: Kind of the job.
        store: Store of the run.
        config: The run.
        run: The run, as the job has it.
        files: Files of the task that are to be sent.
        blobs: Further blobs.
    """
    job = Job(
        kind=kind,
        versions=versions(),
        device=store.device,
        data=config.task.content.digest,
        backbone=config.task.backbone_hash,
        runs=(run,),
    )
    return pack_parcel(job.model_dump(mode="json"), blobs | task_blobs(config, files))
