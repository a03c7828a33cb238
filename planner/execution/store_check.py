"""Check of a curve store: every file of every run is read, and damaged runs can be set aside."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from floss_sim.errors import RecordError, RecordLockedError
from floss_sim.records import RunFolder
from floss_sim.records.file_checks import FileChecks
from floss_sim.records.folder import lock_folder
from floss_sim.records.host_notes import doubts
from planner.execution.curve_store import holds_files, store_checks
from planner.execution.own_runs import OWN_STORE

QUARANTINE = "quarantine"  # folder of the store for damaged runs
_RUN_NAME = re.compile(r"[0-9a-f]{32}")  # first half of a trajectory fingerprint


class State(StrEnum):
    """Result of a run's check."""

    VERIFIED = "verified"
    UNCHECKED = "unchecked"  # readable, without checksums: written by an earlier version
    DOUBTFUL = "doubtful"  # verified, but its last bits may not be those of a run alone
    DAMAGED = "damaged"


@dataclass(frozen=True)
class CheckedRun:
    """A run of a store and the result of its check.

    Attributes:
        path: Run folder.
        state: Result.
        rounds: Number of committed rounds; 0 for a damaged run.
        problem: Description of the damage or the doubt; empty if there is none.
        doubtful_from: First doubtful round of a doubtful run, or None.
        moved_to: Folder to which a damaged run was moved, or None.
        kept: Reason why a damaged run could not be moved; empty if it was, or need not be.
    """

    path: Path
    state: State
    rounds: int = 0
    problem: str = ""
    doubtful_from: int | None = None
    moved_to: Path | None = None
    kept: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the run as plain values."""
        moved = None if self.moved_to is None else str(self.moved_to)
        return {
            "run": str(self.path), "state": str(self.state), "rounds": self.rounds,
            "problem": self.problem, "doubtful_from": self.doubtful_from, "moved_to": moved,
            "kept": self.kept,
        }  # fmt: skip


def check_store(
    root: Path,
    quarantine: bool = False,
    on_run: Callable[[CheckedRun], object] = lambda run: None,
) -> list[CheckedRun]:
    """Check every run of a store; what was verified before is read again.

    Args:
        root: Folder of the store, or any folder of run folders.
        quarantine: Whether to move damaged runs into the folder ``quarantine`` of the store.
        on_run: Called with each run once it is checked.

    Raises:
        RecordError: The folder does not exist, cannot be read, or is a run folder.
    """
    if (root / "run.json").exists() or (root / "manifest.json").exists():
        raise RecordError(
            f"{root} is a run folder, not a store; check the folder that contains it: "
            f"`floss-plan store check {root.absolute().parent}`"
        )
    checked, checks = [], store_checks(root)
    own = root / OWN_STORE
    for path in (*_run_folders(root), *(_run_folders(own) if own.is_dir() else ())):
        run = check_run(path, checks)
        if quarantine and run.state is State.DAMAGED:
            run = _set_aside(run, root / QUARANTINE)
        checked.append(run)
        on_run(run)
    return checked


def _run_folders(root: Path) -> Iterator[Path]:
    """Yield the run folders of a store; empty ones, of processes that were killed, are no runs."""
    try:
        paths = sorted(path for path in root.iterdir() if path.is_dir())
    except OSError as error:
        raise RecordError(f"cannot read the store {root}: {error.strerror}") from None
    for path in paths:
        is_run = _RUN_NAME.fullmatch(path.name) or (path / "run.json").exists()
        if is_run and path.name != QUARANTINE and holds_files(path):
            yield path


def check_run(path: Path, checks: FileChecks) -> CheckedRun:
    """Return the result of reading everything in a run folder.

    Args:
        path: Run folder.
        checks: Verification of the files; it remembers the result.
    """
    try:
        folder = RunFolder.read(path, checks)
        _check_name(folder)
        committed = folder.check(anew=True)
        folder.record()
        if committed.rounds:
            folder.snapshot()
    except RecordError as error:
        problem = str(error).removesuffix(f"; {checks.remedy}")
        return CheckedRun(path, State.DAMAGED, problem=problem)
    if doubted := [doubt for doubt in doubts(path) if doubt[0] <= committed.rounds]:
        first, why = min(doubted)
        return CheckedRun(path, State.DOUBTFUL, committed.rounds, why, first)
    state = State.VERIFIED if committed.is_checked else State.UNCHECKED
    return CheckedRun(path, state, committed.rounds)


def _check_name(folder: RunFolder) -> None:
    """Raise RecordError if a run lies in the folder of another run of the store."""
    found, name = str(folder.description["fingerprint"]), folder.path.name
    if _RUN_NAME.fullmatch(name) and not found.startswith(name):
        raise RecordError(f"{folder.path} contains another run (fingerprint {found[:32]})")


def _set_aside(run: CheckedRun, quarantine: Path) -> CheckedRun:
    """Move a damaged run out of the store, unless a process is writing it."""
    target = _free_path(quarantine / run.path.name)
    try:
        with lock_folder(run.path):
            quarantine.mkdir(exist_ok=True)
            run.path.rename(target)
    except (RecordLockedError, OSError) as error:
        return CheckedRun(run.path, run.state, problem=run.problem, kept=str(error))
    return CheckedRun(run.path, run.state, problem=run.problem, moved_to=target)


def _free_path(wanted: Path) -> Path:
    number, path = 1, wanted
    while path.exists():
        number += 1
        path = wanted.with_name(f"{wanted.name}-{number}")
    return path
