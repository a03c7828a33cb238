"""Measures real TCP transfers between network namespaces that `tc tbf` shapes.

Needs root and the tools `ip` and `tc` (iproute2); says why and does nothing without them. Touches
nothing of the machine's own network, and removes its namespaces when it ends or is interrupted.

Example:
    python experiments/real_links/measure.py --repetitions 15
    python experiments/real_links/measure.py --fifo    # uploads behind one FIFO: fifo_measured.csv
"""

from __future__ import annotations

import argparse
import csv
import fcntl
import json
import os
import platform
import random
import shutil
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cases import HOSTS, Case, all_cases, client_bucket, fifo_cases
from endpoints import CONGESTION_CONTROL, SYSCTLS, Instants, Order, Pair
from topology import (
    MTU_BYTES,
    QUEUE_S,
    network,
    shape_clients,
    shaped_server,
)

HERE = Path(__file__).parent
COLUMNS = (
    "case", "direction", "connection", "clients", "client", "payload_bytes",
    "client_bits_per_s", "client_burst_bytes", "server_bits_per_s", "server_burst_bytes",
    "server_queue", "repetition", "started_s", "first_byte_s", "seconds", "retransmits",
    "least_round_trip_s",
)  # fmt: skip
_LOCK = Path("/run/floss-links.lock")
_NOTICE_S = 0.03  # from the order to the common start: both ends are ready by then
_ORDER_SEED = 0
Row = dict[str, Any]


def main() -> None:
    """Measure every case and write the transfers and the environment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=15, help="of each case, interleaved")
    parser.add_argument("--fifo", action="store_true", help="measure uploads behind one FIFO")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the two files")
    options = parser.parse_args()
    if reason := lacking():
        print(f"skipped: {reason}")
        return
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, lambda number, _: sys.exit(128 + number))
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another measurement would disturb this one
        if reason := refused():
            print(f"skipped: {reason}")
            return
        before = load()
        cases = fifo_cases() if options.fifo else all_cases()
        with network():
            pairs = [Pair(client) for client in range(HOSTS)]
            rows = measured(cases, pairs, options.repetitions)
            facts = environment(options.repetitions, before)
    kind = "fifo_" if options.fifo else ""
    write(rows, options.out / f"{kind}measured.csv")
    text = json.dumps(facts, indent=2) + "\n"
    (options.out / f"{kind}environment.json").write_text(text, encoding="utf-8")


def lacking() -> str | None:
    """Return what this machine lacks for measuring, or None."""
    if not sys.platform.startswith("linux"):
        return "network namespaces need Linux"
    if os.geteuid() != 0:
        return "making network namespaces needs root"
    missing = [tool for tool in ("ip", "tc") if shutil.which(tool) is None]
    return f"{' and '.join(missing)} (of iproute2) not found" if missing else None


def refused() -> str | None:
    """Return what the kernel says if it does not let us make and shape the links, or None."""
    last = all_cases()[-1]
    try:
        with network(), shaped_server(last):
            shape_clients(last.client, last.client)
    except RuntimeError as error:
        return str(error)
    return None


def measured(cases: list[Case], pairs: list[Pair], repetitions: int) -> list[Row]:
    """Return one row a transfer; every repetition goes through all cases in another order."""
    rows: list[Row] = []
    shuffle = random.Random(_ORDER_SEED).shuffle  # noqa: S311
    shape_clients(client_bucket("down"), client_bucket("up"))
    for repetition in range(repetitions):
        shuffle(cases)
        for case in cases:
            with shaped_server(case):
                rows += run(case, pairs, repetition)
        print(f"\r{repetition + 1} of {repetitions} repetitions", end="", flush=True)
    print()
    return sorted(rows, key=lambda row: (row["case"], row["repetition"], row["client"]))


def run(case: Case, pairs: list[Pair], repetition: int) -> list[Row]:
    """Let a case's transfers start together and return a row for each."""
    start_at_s = time.perf_counter() + _NOTICE_S
    busy = list(zip(pairs, case.payloads_bytes, strict=False))
    for pair, payload in busy:
        pair.begin(Order(case.direction, payload, case.connection, start_at_s))
    seen = [pair.finish() for pair, _ in busy]
    return [row(case, repetition, client, start_at_s, one) for client, one in enumerate(seen)]


def row(case: Case, repetition: int, client: int, start_at_s: float, seen: Instants) -> Row:
    """Return a transfer as a row of measured.csv; instants count from the common start."""
    started_at_s, server = seen["started_at_s"], case.server
    values = (
        case.name, case.direction, case.connection, len(case.payloads_bytes), client,
        case.payloads_bytes[client], case.client.bits_per_s, case.client.burst_bytes,
        server.bits_per_s if server else "", server.burst_bytes if server else "",
        case.queue if server else "", repetition,
        f"{started_at_s - start_at_s:.6f}", f"{seen['first_byte_at_s'] - started_at_s:.6f}",
        f"{seen['last_byte_at_s'] - started_at_s:.6f}", int(seen["retransmits"]),
        f"{seen['least_round_trip_s']:.6f}",
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def load() -> Row:
    """Return the jobs that run or wait (mean of the last minute) and processor seconds so far."""
    names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
    ticks = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
    seconds = (int(tick) / os.sysconf("SC_CLK_TCK") for tick in ticks)
    return {"load_1min": os.getloadavg()[0], **dict(zip(names, seconds, strict=False))}


def environment(repetitions: int, before: Row) -> Row:
    """Return what a reader needs to judge the figures."""
    after = load()
    return {
        "measured_on": datetime.now(UTC).date().isoformat(),
        "repetitions": repetitions,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_1min": [before.pop("load_1min"), after.pop("load_1min")],
        "processor_seconds": {name: round(after[name] - before[name], 2) for name in after},
        "mtu_bytes": MTU_BYTES,
        "queue_s": QUEUE_S,
        "congestion_control": CONGESTION_CONTROL,
        "sysctls": SYSCTLS,
    }


def write(rows: list[Row], path: Path) -> None:
    """Write the rows as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
