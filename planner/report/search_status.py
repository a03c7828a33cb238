"""Status of a search: a small file in the folder of its plan, which another terminal reads.

It lies in the folder of the plan, not in the store: a user names that folder, a store serves many
searches at once, and the status belongs to one question. It is replaced as a whole, at most once a
second, from the first trained round on. A search that is refused or fails leaves none.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from floss_sim import documents
from floss_sim.documents import OneFullLine, Section
from floss_sim.errors import PlanError
from floss_sim.files import is_running, missing_folders, remove, remove_empty, write_atomically
from floss_sim.toml_json import read_json
from floss_sim.units import format_duration
from planner.progress import ClusterState, Progress
from planner.question.field_types import Accuracy, Amount, Count, PositiveInt
from planner.report.plan_folder import create_folder

STATUS_FILE = "status.json"
_EVERY_S = 1.0  # seconds from one write to the next, at least
_FRESH_S = 10.0  # seconds after which a status is not taken for one of another machine
_LAST_S = 253_402_300_799.0  # the last second of the year 9999

State = Literal["running", "finished", "interrupted", "ended"]


class ClusterSection(Section):
    """``cluster``: state of the cluster that trains."""

    engine: Annotated[OneFullLine, Field(max_length=2000)]
    workers: PositiveInt
    busy: Count
    waiting: Count
    busy_share: Amount
    retries: Count
    failures: Count
    sent_bytes: Count
    received_bytes: Count
    restarts: Count


class SearchStatus(Section):
    """``status.json``: progress of a search.

    Attributes:
        status_version: Version of the file's form.
        state: Whether the search runs, has finished, or was interrupted; "ended" if its process is
            gone.
        process: Number of the process that searches.
        written_s: Instant of the last write, in seconds since 1970.
        elapsed_s: Seconds from the first trained round to the last write.
        stage: Description of the stage.
        done: Finished rounds of training.
        expected: Most rounds that the search takes.
        runs: Number of runs begun.
        best: Best smoothed validation accuracy so far, 0 to 1.
        left_s: Seconds that are left, estimated from the rounds so far.
        workers: Runs that train at once.
        busy_share: Fraction of the workers' time in which they trained.
        cluster: State of the cluster that trains; None on one machine.
    """

    status_version: Literal[1] = 1
    state: State
    process: PositiveInt
    written_s: Annotated[float, Field(ge=0, le=_LAST_S)]
    elapsed_s: Amount
    stage: OneFullLine
    done: Count
    expected: Count
    runs: Count
    best: Accuracy | None = None
    left_s: Amount | None = None
    workers: Count = 0
    busy_share: Amount | None = None
    cluster: ClusterSection | None = None

    def lines(self) -> list[str]:
        """Return the status in words: the line of the progress, then what became of the search."""
        cluster = ClusterState(**self.cluster.model_dump()) if self.cluster else None
        now = Progress(
            self.stage, self.done, self.expected, self.runs, self.best, cluster=cluster,
            workers=self.workers, busy_share=self.busy_share,
        )  # fmt: skip
        left = "" if self.left_s is None else f", about {format_duration(self.left_s)} left"
        at = datetime.fromtimestamp(self.written_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        took = format_duration(self.elapsed_s)
        if self.state == "running":
            return [now.line() + left, f"Running for {took}; written at {at}."]
        if self.state == "ended":
            return [
                now.line(),
                f"No longer runs: last written at {at}, and its process is gone. The trained "
                "rounds are kept: repeat the command to continue.",
            ]
        return [now.line(), f"{self.state.capitalize()} at {at}, after {took}."]


class StatusWriter:
    """Writes the status of a search while it trains; used as a context manager.

    Args:
        folder: Folder of the plan; it is created with the first status.
        clock: Function that returns seconds since 1970.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = folder / STATUS_FILE
        self._clock = clock
        self._missing: list[Path] = []
        self._first: tuple[float, int] | None = None  # instant and rounds of the first status
        self._last: SearchStatus | None = None

    def __enter__(self) -> StatusWriter:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        if kind is not None and self._last:
            remove(self._path)
            remove_empty(self._missing)

    def update(self, now: Progress) -> None:
        """Write the progress of a search that trains, if the last write is a second ago.

        Raises:
            RecordError: The file cannot be written.
        """
        at_s = self._clock()
        if not now.expected or (self._last and at_s - self._last.written_s < _EVERY_S):
            return
        if self._first is None:
            self._first = at_s, now.done
            self._missing = missing_folders(self._path.parent)
            create_folder(self._path.parent)
        self._write(self._status(now, at_s))

    def finish(self, *, interrupted: bool) -> None:
        """Write that the search has ended; a search that trained nothing has no status."""
        if self._last:
            state: State = "interrupted" if interrupted else "finished"
            changes = {"state": state, "written_s": self._clock(), "left_s": None}
            self._write(self._last.model_copy(update=changes))

    def _write(self, status: SearchStatus) -> None:
        self._last = status
        write_atomically(self._path, status.model_dump_json(indent=2, exclude_none=True) + "\n")

    def _status(self, now: Progress, at_s: float) -> SearchStatus:
        began_s, before = self._first or (at_s, now.done)
        left_s = now.left_s
        if left_s is None and now.done > before:
            left_s = (at_s - began_s) / (now.done - before) * max(0, now.expected - now.done)
        cluster = ClusterSection(**vars(now.cluster)) if now.cluster else None
        return SearchStatus(
            state="running", process=os.getpid(), written_s=at_s, elapsed_s=at_s - began_s,
            stage=now.stage, done=now.done, expected=now.expected, runs=now.runs, best=now.best,
            left_s=left_s, workers=now.workers, busy_share=now.busy_share, cluster=cluster,
        )  # fmt: skip


def read_status(folder: Path, clock: Callable[[], float] = time.time) -> SearchStatus:
    """Return the status of the search whose plan a folder holds, or will hold.

    A search runs if its process does. On another machine, that cannot be told: there, it runs if
    the status was written within the last seconds.

    Args:
        folder: The folder.
        clock: Function that returns seconds since 1970.

    Raises:
        PlanError: The folder has no status, or one that cannot be read.
    """
    path = folder / STATUS_FILE
    if not path.is_file():
        raise PlanError(
            f"{folder} has no {STATUS_FILE}: no search trains there, or it has not begun to train"
        )
    content: Any = read_json(path, PlanError)
    status = documents.validate(content, SearchStatus, PlanError, str(path))
    fresh = clock() - status.written_s < _FRESH_S
    if status.state == "running" and not fresh and not is_running(status.process):
        return status.model_copy(update={"state": "ended", "left_s": None})
    return status
