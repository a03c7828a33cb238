"""Host seconds and memory of a run, noted beside its record: for people and for estimates.

The notes are no part of the data: nothing compares them, and lines that cannot be read are skipped.
"""

from __future__ import annotations

import json
import math
import resource
from pathlib import Path

FILE_NAME = "host.jsonl"


def note_host(
    folder: Path, after: int, round_: int, seconds: float, device_peak_bytes: int | None = None
) -> None:
    """Append what a run has taken since its folder was opened.

    Args:
        folder: The run folder.
        after: Rounds that were committed when it was opened.
        round_: The last round now.
        seconds: Host seconds in between.
        device_peak_bytes: The most memory of the device that trains, if it is not the host.
    """
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    note = {"after": after, "round": round_, "host_s": seconds, "peak_memory_kb": peak_kb}
    if device_peak_bytes is not None:
        note["device_peak_kb"] = device_peak_bytes // 1024
    with (folder / FILE_NAME).open("a", encoding="utf-8") as file:
        file.write(json.dumps(note) + "\n")


def total_host_s(folder: Path) -> tuple[int, float]:
    """Return the number of rounds whose host seconds were noted, and the sum of these seconds."""
    path, last = folder / FILE_NAME, dict[int, tuple[int, float]]()
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            note = json.loads(line)
            after, round_, seconds = int(note["after"]), int(note["round"]), note["host_s"]
            last[after] = round_ - after, float(seconds)
        except (ValueError, KeyError, TypeError):
            continue
    return sum(n for n, _ in last.values()), math.fsum(s for _, s in last.values())


def host_s_per_round(folder: Path) -> float | None:
    """Return the mean host seconds of a round; None where nothing usable was noted."""
    rounds, seconds = total_host_s(folder)
    return seconds / rounds if rounds else None
