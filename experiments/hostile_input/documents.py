"""Mutated TOML, plan, npz, image and manifest files: ``documents.py --count 20000 --seed 1``.

Each file is read in a forked worker that may take 512 MiB more than at its start and 10 seconds a
file. Prints a table, writes it to ``results_documents.md``; ends with 1 if anything went wrong.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

from mutated_documents import KINDS, mutants, outcome

OUTCOMES = ("refused", "right", "wrong", "crashed", "hung", "memory", "noise")
MEMORY_BYTES = 512 << 20
LIMIT_S = 10.0
_SHOWN = 5


def _serve(connection: Connection, kind: str, noise: str) -> None:
    """Read files in this process until the connection ends; stderr goes into the file ``noise``."""
    warnings.simplefilter("error")
    os.dup2(os.open(noise, os.O_CREAT | os.O_WRONLY | os.O_APPEND), 2)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    with tempfile.TemporaryDirectory() as folder:
        while (blob := connection.recv()) is not None:
            connection.send(outcome(kind, blob, Path(folder)))


class Reader:
    """A forked process that reads files of one kind, and starts again after it has died."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.noise = kind, folder / f"noise-{kind}"
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")
        self._here, there = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(there, self.kind, str(self.noise)), daemon=True
        )
        self._process.start()
        there.close()

    def outcome(self, blob: bytes) -> tuple[str, str]:
        """Return what the process makes of a file."""
        before = self.noise.stat().st_size if self.noise.exists() else 0
        self._here.send(blob)
        try:
            if not self._here.poll(LIMIT_S):
                return self._again("hung", "")
            kind, said = self._here.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            return self._again("crashed", f"exit code {self._process.exitcode}")
        if any(word in said for word in ("MemoryError", "Unable to allocate", "not enough memory")):
            return "memory", said
        printed = self.noise.stat().st_size - before
        return ("noise", f"{printed} bytes on stderr") if printed else (kind, said)

    def _again(self, kind: str, said: str) -> tuple[str, str]:
        self._process.kill()
        self._process.join()
        self._start()
        return kind, said

    def end(self) -> None:
        """End the process."""
        self._here.send(None)
        self._process.join()


def attack(kind: str, seed: int, count: int) -> tuple[Counter[str], float]:
    """Return the outcomes of mutated files of a kind, and the seconds of the slowest file."""
    found: Counter[str] = Counter()
    shown: Counter[str] = Counter()
    slowest_s = 0.0
    with tempfile.TemporaryDirectory() as folder:
        reader = Reader(kind, Path(folder))
        for number, blob in enumerate(mutants(kind, seed, count)):
            begin = time.monotonic()
            came, said = reader.outcome(blob)
            slowest_s = max(slowest_s, time.monotonic() - begin)
            found[came] += 1
            if came not in ("refused", "right") and shown[said] < 1 and len(shown) < _SHOWN:
                shown[said] += 1
                print(f"{kind} {seed}:{number} {came}: {said}; {blob[:60]!r}", flush=True)
        reader.end()
    return found, slowest_s


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", nargs="*", default=KINDS)
    chosen = parser.parse_args()
    lines = [
        f"| kind | files | {' | '.join(OUTCOMES)} | slowest s |",
        "|---" * (len(OUTCOMES) + 3) + "|",
    ]
    bad = 0
    for kind in chosen.kinds:
        found, slowest_s = attack(kind, chosen.seed, chosen.count)
        counts = " | ".join(f"{found[name]:,}" for name in OUTCOMES)
        lines.append(f"| {kind} | {found.total():,} | {counts} | {slowest_s:.2f} |")
        print(lines[-1], flush=True)
        bad += found.total() - found["refused"] - found["right"]
    table = "\n".join(lines)
    print(table)
    title = f"# Mutated documents, seed {chosen.seed}\n\n"
    legend = "\n\nnoise: bytes on stderr that are not ours.\n"
    place = Path(__file__).parent / "results_documents.md"
    place.write_text(title + table + legend, encoding="utf-8")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
