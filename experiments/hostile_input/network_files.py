"""Mutated network files: ``python network_files.py --count 20000 --seed 1``.

For each reader (CSV traces, mahimahi traces, speed tests, rows) valid files in many spellings are
made, damaged and read in a forked worker with limits on time and memory. What a reader accepts is
compared with a second reading, which knows the spelling of the file (``network_oracles.py``).
Prints a table, writes it to ``results_network_files.md`` and ends with 1 if anything went wrong.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from network_mutants import READERS, Mutant, mutants

from floss_sim.errors import ConfigError

OUTCOMES = ("refused", "right", "wrong", "crashed", "hung", "memory")
MEMORY_BYTES = 512 << 20  # more than at the start, which no file may need
LIMIT_S = 10.0
_SHOWN = 5


def outcome(mutant: Mutant, folder: Path) -> tuple[str, str]:
    """Return what a reader makes of a mutant, and a word on anything that went wrong."""
    path = folder / mutant.name
    path.write_bytes(mutant.content)
    try:
        value = mutant.read(path)
    except (ConfigError, ValueError) as error:
        if type(error) is not ValueError and not isinstance(error, ConfigError):
            return "crashed", f"{type(error).__name__}: {error}"
        return ("wrong", f"{error!r}") if "\n" in str(error) else ("refused", str(error))
    except MemoryError:
        return "memory", ""
    except BaseException as error:
        return "crashed", f"{type(error).__name__}: {error}"
    problem = mutant.problem(value)
    return ("wrong", problem) if problem else ("right", "")


def _serve(connection: Connection) -> None:
    """Read mutants in this process until the connection ends."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    with tempfile.TemporaryDirectory() as folder:
        while (mutant := connection.recv()) is not None:
            connection.send(outcome(mutant, Path(folder)))


class Worker:
    """A forked process that reads mutants; it is replaced if it dies or hangs."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        fork = multiprocessing.get_context("fork")
        self._here, there = fork.Pipe()
        self._process = fork.Process(target=_serve, args=(there,), daemon=True)
        self._process.start()
        there.close()

    def outcome(self, mutant: Mutant) -> tuple[str, str]:
        """Return what the reader makes of a mutant."""
        self._here.send(mutant)
        try:
            if self._here.poll(LIMIT_S):
                found: tuple[str, str] = self._here.recv()
                return found
            failed = ("hung", f"more than {LIMIT_S:g} s")
        except EOFError:
            failed = ("crashed", "the process died")
        self.stop()
        self._start()
        return failed

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._here.close()


def counts(results: Iterator[tuple[str, str]]) -> tuple[Counter[str], list[str]]:
    """Return how many mutants had each outcome, and words on those that went wrong."""
    tally: Counter[str] = Counter()
    problems = []
    for found, problem in results:
        tally[found] += 1
        if found not in ("refused", "right"):
            problems.append(f"{found}: {problem}")
    return tally, problems


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--readers", nargs="*", default=list(READERS))
    arguments = parser.parse_args()
    lines = [f"| reader | mutants | {' | '.join(OUTCOMES)} | s |", "|---" * 9 + "|"]
    failed = False
    for reader in arguments.readers:
        worker, begin = Worker(), time.perf_counter()
        draw = random.Random(f"{arguments.seed} {reader}")  # noqa: S311 (reproducible)
        made = mutants(reader, arguments.count, draw)
        tally, problems = counts(worker.outcome(mutant) for mutant in made)
        worker.stop()
        cells = [f"{tally[found]:,}" for found in OUTCOMES]
        took_s = time.perf_counter() - begin
        lines.append(f"| {reader} | {tally.total():,} | {' | '.join(cells)} | {took_s:.0f} |")
        print(lines[-1], *problems[:_SHOWN], sep="\n", flush=True)
        failed = failed or bool(problems)
    print("\n".join(lines))
    words = f"# Mutated network files\n\nSeed {arguments.seed}.\n\n"
    results = Path(__file__).with_name("results_network_files.md")
    results.write_text(words + "\n".join(lines) + "\n", encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
