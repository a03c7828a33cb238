"""Check of an engine's workers before a search: they answer, with equal versions and a device."""

from __future__ import annotations

import time
from concurrent.futures import FIRST_COMPLETED, Future, wait

from floss_sim import documents
from floss_sim.errors import ConfigError, FlossError
from floss_sim.plain_text import one_line
from planner.cluster.engine import Engine
from planner.cluster.job import Answer, Job
from planner.cluster.parcel import pack_parcel, unpack_parcel
from planner.cluster.versions import versions
from planner.cluster.worker import answer

_MOST_CALLS = 16  # workers that are asked; others are checked with their first job
_OTHERS_S = 3.0  # seconds for the other workers' answers, once one has come


def check_workers(engine: Engine, device: str) -> Answer:
    """Return the first answer of a worker that can train, and check others that answer soon.

    Workers that have not answered then load libraries meanwhile; their first job checks them.

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
    answers = _answers(pending, engine.queue_s + engine.patience_s)
    able = [found for found in answers if found.status == "done"]
    refused = [found for found in answers if found.status == "refused"]
    if refused:
        raise ConfigError(f"executor {engine.name}: {refused[0].reason}")
    if not answers:
        limit_s = engine.queue_s + engine.patience_s
        raise FlossError(f"no worker of executor {engine.name} answered in {limit_s:.0f} s")
    if not able:
        reason = answers[-1].reason
        raise FlossError(f"no worker of executor {engine.name} can train: {reason}")
    return able[0]


def _answers(pending: set[Future[bytes]], limit_s: float) -> list[Answer]:
    """Return answers until one is a refusal, or the others' time is over."""
    answers: list[Answer] = []
    end_s = time.monotonic() + limit_s
    while pending and not any(found.status == "refused" for found in answers):
        done, pending = wait(pending, max(0.0, end_s - time.monotonic()), FIRST_COMPLETED)
        if not done:
            break
        answers += map(_answer, done)
        if any(found.status == "done" for found in answers):
            end_s = min(end_s, time.monotonic() + _OTHERS_S)
    return answers


def _answer(future: Future[bytes]) -> Answer:
    try:
        head, _ = unpack_parcel(future.result())
        return documents.validate(head, Answer, ConfigError, "answer")
    except Exception as error:  # of the engine or of the worker, whatever kind it is
        reason = " ".join(one_line(f"{type(error).__name__}: {error}").split())[:500]
        return Answer(status="failed", reason=reason)
