"""Host seconds and memory of a run, and doubts about its bits, in a file of its run folder.

The folder of a curve store has such a file too, with the seconds until its processes have started.

These values are not part of the record: they are never compared, and unreadable lines are skipped.
"""

from __future__ import annotations

import json
import math
import resource
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from floss_sim.files import leaves_folder

FILE_NAME = "host.jsonl"


def note_host(
    folder: Path, after: int, round_: int, seconds: float, device_peak_bytes: int | None = None
) -> None:
    """Append the host seconds and peak memory of a run since its folder was opened.

    Args:
        folder: Run folder.
        after: Last round that was committed when the folder was opened.
        round_: Last round committed now.
        seconds: Host seconds spent on the rounds after ``after``, up to ``round_``.
        device_peak_bytes: Peak memory of the training device in bytes; None if it uses host
            memory.
    """
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    note = {"after": after, "round": round_, "host_s": seconds, "peak_memory_kb": peak_kb}
    if device_peak_bytes is not None:
        note["device_peak_kb"] = device_peak_bytes // 1024
    _append(folder, note)


def note_doubt(folder: Path, first_round: int, why: str) -> None:
    """Append that the last bits of a run are doubtful.

    Args:
        folder: Run folder.
        first_round: Round from which on they are doubtful.
        why: Reason.
    """
    _append(folder, {"doubtful_from": first_round, "why": why})


def doubts(folder: Path) -> list[tuple[int, str]]:
    """Return the doubts about a run: the first doubtful round, and the reason."""
    return [
        (note["doubtful_from"], str(note.get("why", "")))
        for note in _notes(folder)
        if isinstance(note.get("doubtful_from"), int)
    ]


def total_host_s(folder: Path) -> tuple[int, float]:
    """Return the number of rounds with recorded host seconds, and the sum of these seconds."""
    last = dict[int, tuple[int, float]]()
    for note in _notes(folder):
        try:
            after, round_, seconds = int(note["after"]), int(note["round"]), note["host_s"]
            last[after] = round_ - after, float(seconds)
        except (ValueError, KeyError, TypeError):  # another kind of note
            continue
    return sum(n for n, _ in last.values()), math.fsum(s for _, s in last.values())


def host_s_per_round(folder: Path) -> float | None:
    """Return the mean host seconds per round; None if no host seconds were recorded."""
    rounds, seconds = total_host_s(folder)
    return seconds / rounds if rounds else None


def peak_memory_bytes(folder: Path) -> int:
    """Return the largest peak memory of a process that trained a run; 0 if none was recorded."""
    peaks = (note.get("peak_memory_kb") for note in _notes(folder))
    return 1024 * max((kb for kb in peaks if isinstance(kb, int)), default=0)


def note_machine(folder: Path, after: int, machine: Mapping[str, str]) -> None:
    """Append the type of the machine that trains the rounds after a round.

    Args:
        folder: Run folder.
        after: Last committed round when it begins to train.
        machine: Type of the machine, as plain values; no name of a machine.
    """
    _append(folder, {"after": after, "machine": dict(machine)})


def machines(folder: Path, rounds: int) -> list[tuple[int, dict[str, str]]]:
    """Return the machine types that trained the first rounds of a run, and after which round each.

    The list is empty for rounds trained by an earlier version.

    Args:
        folder: Run folder.
        rounds: Number of rounds.
    """
    last: dict[int, dict[str, str]] = {}
    for note in _notes(folder):
        after, machine = note.get("after"), note.get("machine")
        if isinstance(after, int) and isinstance(machine, dict) and after < rounds:
            last[after] = {str(key): str(value) for key, value in machine.items()}
    return sorted(last.items())


def note_start(folder: Path, seconds: float) -> None:
    """Append the host seconds in which training processes started and loaded their libraries.

    Nothing is noted where the folder is missing or cannot be written.
    """
    with suppress(OSError):
        _append(folder, {"start_s": seconds})


def last_start_s(folder: Path) -> float | None:
    """Return the host seconds of the last start of training processes; None without a note."""
    starts = [note["start_s"] for note in _notes(folder) if "start_s" in note]
    return next((float(s) for s in reversed(starts) if isinstance(s, int | float)), None)


def _append(folder: Path, note: Mapping[str, Any]) -> None:
    """Append a note; nothing is written through a link that leaves the folder."""
    path = folder / FILE_NAME
    if leaves_folder(path):
        return
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(note) + "\n")


def _notes(folder: Path) -> Iterator[dict[str, Any]]:
    path = folder / FILE_NAME
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    for line in text.splitlines():
        with suppress(ValueError, RecursionError):
            note = json.loads(line)
            if isinstance(note, dict):
                yield note


def notes_of_part(folder: Path) -> list[dict[str, Any]]:
    """Return the notes of a run folder, for a folder elsewhere that gets its rounds."""
    last: dict[tuple[str, ...], dict[str, Any]] = {}
    for note in _notes(folder):
        last[*sorted(note), str(note.get("after"))] = note
    return list(last.values())


def append_notes(folder: Path, notes: Iterable[Mapping[str, Any]]) -> None:
    """Append notes of a part that was trained elsewhere.

    Args:
        folder: Run folder.
        notes: The notes.
    """
    for note in notes:
        _append(folder, note)
