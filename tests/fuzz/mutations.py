"""Attack the decoder: ``python tests/fuzz/mutations.py --count 1000000 --seed 1``.

Every broken message must be refused with a PayloadError or read as a message within its layout,
in bounded time and memory. Prints what came of each kind; ends with 1 if anything else happened.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import resource
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from mutated_messages import KINDS, Broken, broken, corpus, read, sealed

MEMORY_BYTES = 256 << 20  # more than at the start, which no message may need
_SHOWN = 10  # unexpected outcomes that are printed in full
_SLOWEST = 30  # messages that are read again, as a busy machine makes any of them slow


class Tally:
    """Outcomes by kind, the slowest message, and what should not have happened."""

    def __init__(self) -> None:
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.slow: list[tuple[float, int, Broken]] = []
        self.unexpected: dict[str, Broken] = {}
        self.times: Counter[str] = Counter()

    def add(self, message: Broken) -> None:
        """Read a message, and count what came of it."""
        begin = time.thread_time()
        try:
            outcome = read(message.reader, message.blob)
        except BaseException as error:  # a panic of a library is not an Exception
            if isinstance(error, KeyboardInterrupt):
                raise
            outcome = "unexpected"
            where = f"{type(error).__name__}: {error}"
            self.times[where] += 1
            self.unexpected.setdefault(where, message)
        took_s = time.thread_time() - begin
        if len(self.slow) < _SLOWEST or took_s > self.slow[0][0]:
            heapq.heappush(self.slow, (took_s, self.outcomes.total(), message))
            if len(self.slow) > _SLOWEST:
                heapq.heappop(self.slow)
        self.outcomes[message.kind, outcome] += 1
        self.outcomes[message.kind, "sealed"] += message.sealed

    def table(self) -> str:
        """Return outcomes by kind as a table of Markdown."""
        columns = ("refused", "valid", "unexpected", "sealed")
        lines = [f"| kind | messages | {' | '.join(columns)} |", "|---" * (len(columns) + 2) + "|"]
        for kind in (*KINDS, "all"):
            kinds = list(KINDS) if kind == "all" else [kind]
            counts = [sum(self.outcomes[k, column] for k in kinds) for column in columns]
            numbers = " | ".join(f"{number:,}" for number in (sum(counts[:3]), *counts))
            lines.append(f"| {kind} | {numbers} |")
        return "\n".join(lines)

    def slowest(self) -> tuple[float, Broken]:
        """Return the message that takes longest, and the processor seconds of its best of five."""
        timed = [(min(self._again_s(m) for _ in range(5)), n, m) for _, n, m in self.slow]
        seconds, _, message = max(timed)
        return seconds, message

    @staticmethod
    def _again_s(message: Broken) -> float:
        begin = time.thread_time()
        with contextlib.suppress(BaseException):
            read(message.reader, message.blob)
        return time.thread_time() - begin

    def findings(self) -> str:
        """Return what should not have happened, with its bytes."""
        return "\n".join(
            f"{self.times[where]} x {where}\n  first: {message.kind}, {message.reader.name}, "
            f"{message.blob.hex() if len(message.blob) < 1000 else f'{len(message.blob)} bytes'}"
            for where, message in list(self.unexpected.items())[:_SHOWN]
        )


def limit_memory() -> None:
    """Let an allocation beyond the limit fail instead of swap."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    now = pages * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY_BYTES, now + MEMORY_BYTES))


def peak_bytes() -> int:
    """Return the most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for reader, blob in corpus():  # what is made once is made before the limit is set
        read(reader, sealed(reader, blob))
    limit_memory()
    before_bytes, begin, tally = peak_bytes(), time.perf_counter(), Tally()
    for message in broken(arguments.count, arguments.seed):
        tally.add(message)
    took_s = time.perf_counter() - begin
    print(tally.table())
    slowest_s, slowest = tally.slowest()
    print(f"\n{took_s:.0f} s in all, {1e6 * took_s / arguments.count:.0f} us a message")
    print(f"slowest message: {1e3 * slowest_s:.2f} ms of processor time", end=" ")
    print(f"({slowest.kind}, {slowest.reader.name}, {len(slowest.blob)} bytes)")
    print(f"peak memory: {peak_bytes() / 1e6:.0f} MB, {before_bytes / 1e6:.0f} MB at the start")
    print(tally.findings() or "nothing unexpected")
    return 1 if tally.unexpected else 0


if __name__ == "__main__":
    raise SystemExit(main())
