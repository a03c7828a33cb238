"""Calls to worker processes through files, for queues that start processes and no more.

A worker is a job of the queue. It stays, and answers one call after the other, so that a job waits
in the queue and loads its libraries once. Coordinator and workers see one folder::

    beat                      a number that counts up while the coordinator lives
    worker-000001/            of one worker; without it the worker ends
    worker-000001/call-7      bytes of a call
    answers/000001-ready      empty: the worker has started
    answers/000001-answer-7   bytes of the answer; 000001-error-7 is the text of an error instead

Files get their names when they are whole. Nothing here is pickled. To look for news takes one
listing: a network file system may remember for a while that a single name was absent.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

WORKER, ANSWERS, BEAT = "worker-", "answers", "beat"
CALL, READY, ANSWER, ERROR = "call-", "ready", "answer", "error"
BEAT_S = 5.0  # seconds between two beats of the coordinator
_PATIENCE_S = 120.0  # seconds without a beat after which a worker ends


def put(path: Path, content: bytes) -> None:
    """Write a file that others see only when it is whole."""
    draft = path.with_name(f".{path.name}")
    draft.write_bytes(content)
    draft.rename(path)


def names(folder: Path) -> list[str]:
    """Return the names in a folder, sorted; a folder that is gone has none.

    A listing is asked of a network file system each time; the absence of one name may be cached.
    """
    try:
        return sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return []


def serve(
    folder: Path,
    answer: Callable[[bytes], bytes],
    poll_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Answer the calls of a worker's folder; return their number.

    Ends when the folder is gone, and when the coordinator gives no sign of life for two minutes.

    Args:
        folder: Folder of this worker.
        answer: The function that is called.
        poll_s: Seconds between two looks at the folder.
        clock: Function that returns seconds.
    """
    answered, beat, heard_s, asked_s = 0, b"", clock(), clock()
    with suppress(FileNotFoundError):  # the coordinator has removed the folder
        put(_answer_path(folder, READY), b"")
        while True:
            calls = sorted(path for path in folder.iterdir() if path.name.startswith(CALL))
            for call in calls:
                kind, content = _answer(answer, call.read_bytes())
                put(_answer_path(folder, kind, call.name), content)
                call.unlink()
            answered += len(calls)
            if calls or clock() >= asked_s + BEAT_S:
                asked_s, now = clock(), _content(folder.parent / BEAT)
                if calls or now != beat:
                    beat, heard_s = now, asked_s
                elif asked_s > heard_s + _PATIENCE_S:
                    break
            time.sleep(0.0 if calls else poll_s)
    return answered


def _answer_path(folder: Path, kind: str, call: str = "") -> Path:
    """Return the path of a worker's answer to a call, or of its sign that it has started."""
    parts = [folder.name.removeprefix(WORKER), kind, call.removeprefix(CALL)]
    return folder.parent / ANSWERS / "-".join(part for part in parts if part)


def _answer(answer: Callable[[bytes], bytes], call: bytes) -> tuple[str, bytes]:
    try:
        return ANSWER, answer(call)
    except Exception as error:  # the coordinator decides what it means
        return ERROR, f"{type(error).__name__}: {error}".encode()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
