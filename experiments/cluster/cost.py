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
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from check import ENGINES, HERE, LOCAL, make

TIMED = ("local", "dask", "ray")
FILE = HERE / "cost.json"


def measure(name: str, size: str) -> dict[str, Any]:
    """Return what a plan took."""
    with tempfile.TemporaryDirectory(prefix="floss-cost-") as folder:
        work, load = Path(folder), os.getloadavg()[0]
        if name == "local":
            told = make(size, work / "store", LOCAL).told
        else:
            (work / name).mkdir()
            with ENGINES[name](work / name) as cluster:
                told = make(size, work / "store", cluster).told
    state = told["state"] or {"sent_bytes": 0, "received_bytes": 0, "busy_share": 0.0}
    trained = told["plan"]["effort"]["trained_now_rounds"]
    kept = {key: state[key] for key in ("sent_bytes", "received_bytes", "busy_share")}
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    return {"engine": name, "size": size, "date": date, "seconds": told["seconds"],
            "rounds": trained, "load_before": load, "load_after": os.getloadavg()[0],
            **kept}  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """Return the table of all measured plans, and the ratios of medians."""
    lines = [
        "| plan | through | s | rounds | bytes to workers | from workers | busy | load before |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        far = row["engine"] != "local"
        moved = [f"{row[f'{way}_bytes']:,}" if far else "" for way in ("sent", "received")]
        busy = f"{100 * row['busy_share']:.0f} %" if far else ""
        cells = [row["size"], row["engine"], f"{row['seconds']:.0f}", str(row["rounds"]),
                 *moved, busy, f"{row['load_before']:.1f}"]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    for size in dict.fromkeys(row["size"] for row in rows):
        of = {
            name: [r["seconds"] for r in rows if (r["size"], r["engine"]) == (size, name)]
            for name in TIMED
        }
        for name in TIMED[1:]:
            if of["local"] and of[name]:
                ratio = median(of[name]) / median(of["local"])
                lines.append(
                    f"- {size} plan, {name}: {ratio:.2f} times the local seconds (medians)"
                )
    return "\n".join(lines) + "\n"


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
