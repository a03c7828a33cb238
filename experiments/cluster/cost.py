"""Cost of the machinery: the default plan of two local processes, through Dask, and through Ray.

    PYTHONPATH=.:tests/support python experiments/cluster/cost.py [--turns 2] [--only dask,ray]

Each plan begins with an empty store, in turns. The cluster runs already, its workers have loaded
nothing. Adds to ``cost.json`` beside this file, and writes its table, ``cost.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from check import ENGINES, HERE, LOCAL, make
from clusters import mark_processes
from worker_processes import processor_seconds

TIMED = ("local", "dask", "ray")
FILE = HERE / "cost.json"


def measure(name: str, size: str) -> dict[str, Any]:
    """Return what a plan took: seconds, and processor seconds of all processes together."""
    with tempfile.TemporaryDirectory(prefix="floss-cost-") as folder, ExitStack() as held:
        work, load = Path(folder), os.getloadavg()[0]
        mark_processes(folder)
        cluster = LOCAL
        if name != "local":
            (work / name).mkdir()
            cluster = held.enter_context(ENGINES[name](work / name))
        with processor_seconds(folder) as used:
            told = make(size, work / "store", cluster).told
    state = told["state"] or {}
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    return {
        "engine": name, "size": size, "date": date, "seconds": told["seconds"],
        "processor_s": used[0], "rounds": told["plan"]["effort"]["trained_now_rounds"],
        "load_before": load, "load_after": os.getloadavg()[0],
        **{key: state.get(key, 0) for key in ("sent_bytes", "received_bytes", "busy_share")},
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """Return the table of all measured plans, and the ratios of medians."""
    lines = [
        "| plan | through | s | processor s | rounds | bytes to workers | from workers | busy |"
        " load before, after |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        far = row["engine"] != "local"
        moved = [f"{row[f'{way}_bytes']:,}" if far else "" for way in ("sent", "received")]
        busy = f"{100 * row['busy_share']:.0f} %" if far else ""
        loads = f"{row['load_before']:.1f}, {row['load_after']:.1f}"
        cells = [row["size"], row["engine"], f"{row['seconds']:.0f}", f"{row['processor_s']:.0f}",
                 str(row["rounds"]), *moved, busy, loads]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    for size in dict.fromkeys(row["size"] for row in rows):
        for name in TIMED[1:]:
            ratios = [_ratio(rows, size, name, key) for key in ("seconds", "processor_s")]
            if None not in ratios:
                told = "{:.2f} times the local seconds, {:.2f} times the processor's".format(
                    *ratios
                )
                lines.append(f"- {size} plan, {name}: {told} (medians)")
    return "\n".join(lines) + "\n"


def _ratio(rows: list[dict[str, Any]], size: str, name: str, key: str) -> float | None:
    found = [
        [row[key] for row in rows if (row["size"], row["engine"]) == (size, engine)]
        for engine in (name, "local")
    ]
    return median(found[0]) / median(found[1]) if all(found) else None


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--only", default=",".join(TIMED))
    parser.add_argument("--size", default="default")
    given = parser.parse_args()
    rows = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else []
    for _ in range(given.turns):
        for name in given.only.split(","):
            rows.append(measure(name, given.size))
            print(rows[-1], flush=True)
            FILE.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
            (HERE / "cost.md").write_text("# Seconds of plans\n\n" + table(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
