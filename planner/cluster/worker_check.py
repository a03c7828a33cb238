"""Check of an engine's workers before a search: they answer, with equal versions and a device."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, wait

from floss_sim import documents
from floss_sim.errors import ConfigError, FlossError
from planner.cluster.engine import Engine
from planner.cluster.job import Answer, Job
from planner.cluster.parcel import pack_parcel, unpack_parcel
from planner.cluster.versions import versions
from planner.cluster.worker import answer

_MOST_CALLS = 16  # workers that are asked; others are checked with their first job


def check_workers(engine: Engine, device: str) -> Answer:
    """Return the first answer of a worker that can train; the others load libraries meanwhile.

    Args:
        engine: The engine.
        device: Device that shall train, or ``"auto"``.

    Raises:
        ConfigError: The versions of a worker differ, or it lacks the device.
        FlossError: No worker answers, or all calls fail.
    """
    job = Job(kind="check", versions=versions(), device=device)
    parcel = pack_parcel(job.model_dump(mode="json"))
    count = min(engine.workers, _MOST_CALLS)
    try:
        pending = {engine.executor.submit(answer, parcel) for _ in range(count)}
    except Exception as error:
        raise FlossError(f"executor {engine.name} takes no work: {error}") from error
    failure, limit_s = "", engine.queue_s + engine.patience_s
    while pending:
        done, pending = wait(pending, limit_s, FIRST_COMPLETED)
        if not done:
            raise FlossError(f"no worker of executor {engine.name} answered in {limit_s:.0f} s")
        for future in done:
            found = _answer(future)
            if found.status == "done":
                return found
            failure = found.reason
            if found.status == "refused":
                raise ConfigError(f"executor {engine.name}: {failure}")
    raise FlossError(f"no worker of executor {engine.name} can train: {failure}")


def _answer(future: Future[bytes]) -> Answer:
    try:
        head, _ = unpack_parcel(future.result())
        return documents.validate(head, Answer, ConfigError, "answer")
    except Exception as error:  # of the engine or of the worker, whatever kind it is
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        return Answer(status="failed", reason=reason)
