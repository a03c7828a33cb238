"""Readers of CSV, JSON lines and Parquet against mutated files: results_tables.md.

    python experiments/hostile_input/tables.py [--count 20000] [--seed 1] [--only csv ...]

A worker process reads the files, so that a crash or a hang is counted and the next file is read by
a new worker. Every text that is read is compared with a second reader: pandas for CSV, Python's
parser for JSON lines, and the same library without our checks for Parquet; where that refuses
damaged statistics, with the undamaged file. Ends with 1 if any file was read wrongly, ended the
process, hung, or raised anything but one line.
"""

from __future__ import annotations

import argparse
import os
import resource
import select
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tests" / "support"))

from mutated_tables import FORMATS, mutants, outcomes  # noqa: E402

_HUNG_S = 20  # for one file; usual ones take 4 ms
_MEMORY_BYTES = 1 << 31  # address space that a worker may add
_BATCH = 500  # files that one worker reads


def _work(kind: str, seed: int, begin: int, count: int, pipe: int) -> None:
    """Read files in a forked worker, and write one line for each: its outcome and peak memory."""
    with suppress(OSError), Path("/proc/self/statm").open() as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + _MEMORY_BYTES, size + _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as folder:
        for outcome in outcomes(kind, seed, begin, count, Path(folder)):
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            os.write(pipe, f"{peak}\t{outcome.splitlines()[0]}\n".encode(errors="replace"))


def _lines(kind: str, seed: int, begin: int, count: int) -> Iterator[tuple[int, str]]:
    """Yield peak memory in KiB and outcome of each file; the last may be a crash or a hang."""
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(out)
        with suppress(BaseException):
            _work(kind, seed, begin, count, into)
            os._exit(0)
        os._exit(1)
    os.close(into)
    done, rest, peak = 0, b"", 0
    while True:
        if not select.select([out], [], [], _HUNG_S)[0]:
            os.kill(pid, signal.SIGKILL)
            yield peak, "hung"
            break
        blob = os.read(out, 1 << 16)
        *lines, rest = (rest + blob).split(b"\n")
        for line in lines:
            first, _, outcome = line.decode().partition("\t")
            peak, done = int(first), done + 1
            yield peak, outcome
        if not blob:
            break
    os.close(out)
    status = os.waitpid(pid, 0)[1]
    if done < count and status:
        yield peak, f"crashed ({os.waitstatus_to_exitcode(status)})"


def attack(kind: str, seed: int, count: int) -> tuple[Counter[str], int, list[str]]:
    """Return outcomes, peak memory in KiB, and the first files with an unexpected outcome."""
    found: Counter[str] = Counter()
    memory, shown, at = 0, [], 0
    while at < count:
        for peak, outcome in _lines(kind, seed, at, min(_BATCH, count - at)):
            found[outcome] += 1
            memory = max(memory, peak)
            if outcome not in ("refused", "read") and len(shown) < 5:
                shown.append(
                    f"{kind} {at}: {outcome}: {next(mutants(kind, seed, at)).blob[:400]!r}"
                )
            at += 1
        print(kind, at, dict(found), file=sys.stderr, flush=True)
    return found, memory, shown


def main() -> None:
    """Attack each reader, print a table, and write it as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20_000, help="files of each format")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=FORMATS, default=FORMATS)
    chosen = parser.parse_args()
    table = [
        "| reader | files | refused | read rightly | wrong | other errors | crashed | hung "
        "| peak memory | time |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    bad = 0
    for kind in chosen.only:
        begun = time.monotonic()
        found, memory, shown = attack(kind, chosen.seed, chosen.count)
        crashed = sum(n for outcome, n in found.items() if outcome.startswith("crashed"))
        known = found["refused"] + found["read"] + found["wrong"] + found["hung"] + crashed
        other = found.total() - known
        bad += found["wrong"] + found["hung"] + crashed + other
        table.append(
            f"| {kind} | {found.total()} | {found['refused']} | {found['read']} | {found['wrong']} "
            f"| {other} | {crashed} | {found['hung']} | {memory / 1024:.0f} MiB "
            f"| {time.monotonic() - begun:.0f} s |"
        )
        print(*shown, sep="\n", file=sys.stderr)
    text = f"# Mutated tables, seed {chosen.seed}\n\n" + "\n".join(table) + "\n"
    print(text)
    if chosen.only == FORMATS:
        (HERE / "results_tables.md").write_text(text, encoding="utf-8")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
