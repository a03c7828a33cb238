"""Check that a plan is the same on every engine, undisturbed and with workers killed.

    PYTHONPATH=tests/support python experiments/cluster/check.py [--only dask,ray] [--kill-every 20]

Each engine runs with two workers on this machine. It makes the small plan, which must be the local
one bit for bit; a longer one, while a random worker is killed every 20 seconds; and one that Ctrl-C
ends, after which no worker may be busy. Writes ``check.md`` beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clusters import (
    WORKERS,
    Cluster,
    MissingError,
    dask_cluster,
    mark_processes,
    parsl_processes,
    parsl_threads,
    ray_cluster,
    slurm_cluster,
    submitit_local,
)
from worker_processes import busy_pids, killing, worker_pids

from floss_sim.records import RunFolder

HERE = Path(__file__).parent
ENGINES: dict[str, Callable[[Path], AbstractContextManager[Cluster]]] = {
    "dask": dask_cluster,
    "ray": ray_cluster,
    "slurm": slurm_cluster,
    "submitit local": submitit_local,
    "parsl processes": parsl_processes,
    "parsl threads": parsl_threads,
}
HEAD = (
    "| engine | version | date | plan = local | s | bytes to and from workers | kills | retries |"
    " plan = undisturbed | s | after Ctrl-C |"
)
LINE = "|---|---|---|---|---|---|---|---|---|---|---|"
LOCAL = Cluster("", "local", WORKERS)


@dataclass(frozen=True)
class Made:
    """A plan that a process made.

    Attributes:
        told: What ``one_plan.py`` prints.
        store: Store of its runs.
    """

    told: dict[str, Any]
    store: Path

    def equals(self, other: Made) -> bool:
        """Return whether the plans are the same, and the data of all runs."""
        return _content(self.told["plan"]) == _content(other.told["plan"]) and _tables(
            self.store
        ) == _tables(other.store)


def _content(plan: Mapping[str, Any]) -> dict[str, Any]:
    effort = {k: v for k, v in plan["effort"].items() if not k.startswith("trained_now_")}
    return {**plan, "effort": effort}


def _tables(store: Path) -> dict[str, Any]:
    runs = {path.parent.name: RunFolder.read(path.parent) for path in store.glob("*/manifest.json")}
    return {name: (run.record().rounds, run.record().transfers) for name, run in runs.items()}


def begin(size: str, store: Path, cluster: Cluster, log: Path) -> subprocess.Popen[str]:
    """Start a process that makes a plan; its progress goes to a log."""
    words = [sys.executable, str(HERE / "one_plan.py"), size, str(store), cluster.executor]
    if cluster.workers:
        words.append(str(cluster.workers))
    with log.open("wb") as stderr:
        return subprocess.Popen(  # noqa: S603
            words, stdout=subprocess.PIPE, stderr=stderr, text=True, start_new_session=True,
            env={**os.environ, **cluster.environment},
        )  # fmt: skip


def make(size: str, store: Path, cluster: Cluster) -> Made:
    """Return a plan."""
    log = store.with_suffix(".log")
    said = begin(size, store, cluster, log).communicate()[0]
    if not said:
        raise SystemExit(f"{cluster.executor}: {log.read_text(encoding='utf-8')[-2000:]}")
    return Made(json.loads(said), store)


def make_with_kills(store: Path, cluster: Cluster, mark: str, every_s: float) -> tuple[Made, int]:
    """Return the longer plan, and how many workers were killed."""
    log = store.with_suffix(".log")
    process = begin("longer", store, cluster, log)
    with killing(mark, process.pid, every_s) as killed:
        said = process.communicate()[0]
    if not said:
        raise SystemExit(f"{cluster.executor}: {log.read_text(encoding='utf-8')[-2000:]}")
    return Made(json.loads(said), store), len(killed)


def left_after_ctrl_c(store: Path, cluster: Cluster, mark: str) -> str:
    """Return what is left of a search that was interrupted while workers trained."""
    log = store.with_suffix(".log")
    process = begin("longer", store, cluster, log)
    end_s = time.monotonic() + 120
    while not list(store.glob("*/manifest.json")) and time.monotonic() < end_s:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    process.communicate()
    time.sleep(5)
    busy = busy_pids(mark)
    idle = len(worker_pids(mark, os.getpid())) - len(busy)
    return f"{len(busy)} BUSY" if busy else f"nothing runs, {idle} idle"


def row(name: str, local: Mapping[str, Made], work: Path, every_s: float) -> str:
    """Return the row of an engine."""
    folder = work / name.replace(" ", "-")
    folder.mkdir()
    mark = str(folder)
    mark_processes(mark)
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    try:
        with ENGINES[name](folder) as cluster:
            made = make("small", folder / "small", cluster)
            state = made.told["state"]
            moved = f"{state['sent_bytes']:,} + {state['received_bytes']:,}"
            cells = [name, cluster.version, date, _yes(made.equals(local["small"])),
                     f"{made.told['seconds']:.0f}", moved]  # fmt: skip
            if not cluster.has_processes:
                return _row(*cells, "", "", "", "", "")
            killed, count = make_with_kills(folder / "killed", cluster, mark, every_s)
            return _row(
                *cells, str(count) if count else "NOBODY", str(killed.told["state"]["retries"]),
                _yes(killed.equals(local["longer"])), f"{killed.told['seconds']:.0f}",
                left_after_ctrl_c(folder / "stopped", cluster, mark),
            )  # fmt: skip
    except MissingError as error:
        return _row(name, f"not run: {error}", date, *[""] * 8)


def _yes(same: bool) -> str:
    return "yes" if same else "NO"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def write(rows: Mapping[str, str], out: Path, local: Mapping[str, Made], every_s: float) -> None:
    """Write the table; rows of engines that were not run now stay."""
    found = out.read_text(encoding="utf-8").splitlines() if out.exists() else []
    kept = {line.split("|")[1].strip(): line for line in found if line.startswith("| ")}
    kept = {name: line for name, line in kept.items() if name in ENGINES} | dict(rows)
    small, longer = (local[size].told for size in ("small", "longer"))
    lines = [
        "# Plans on clusters of two workers", "",
        "Made by `make check-cluster` on one machine of two cores. Plan and Arrow tables are "
        "compared bit for bit with those of two local processes, which took "
        f"{small['seconds']:.0f} s (small plan) and {longer['seconds']:.0f} s (longer plan). "
        f"In the longer one a random worker was killed (kill -9) every {every_s:g} s. Bytes are "
        "those of parcels, for the small plan.",
        "", HEAD, LINE, *[kept[name] for name in ENGINES if name in kept],
    ]  # fmt: skip
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Check, write the table, and end with code 1 if a plan differs or a worker stays busy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help=f"engines, of {', '.join(ENGINES)}")
    parser.add_argument("--kill-every", type=float, default=20.0, metavar="SECONDS")
    parser.add_argument("--out", type=Path, default=HERE / "check.md")
    parser.add_argument("--work", type=Path, help="folder that stays; local plans in it are used")
    given = parser.parse_args()
    names = given.only.split(",") if given.only else list(ENGINES)
    work = given.work or Path(tempfile.mkdtemp(prefix="floss-check-"))
    work.mkdir(parents=True, exist_ok=True)
    local = {size: _local(size, work) for size in ("small", "longer")}
    rows = {}
    for name in names:
        shutil.rmtree(work / name.replace(" ", "-"), ignore_errors=True)
        rows[name] = row(name, local, work, given.kill_every)
        print(rows[name], flush=True)
        write(rows, given.out, local, given.kill_every)
    if not given.work:
        shutil.rmtree(work, ignore_errors=True)
    if any("NO" in text or "BUSY" in text for text in rows.values()):
        raise SystemExit("a plan differs, no worker was found to kill, or one was left busy")


def _local(size: str, work: Path) -> Made:
    """Return the plan of local processes, made once in a folder."""
    kept = work / f"local-{size}.json"
    store = work / f"local-{size}"
    if not kept.exists():
        kept.write_text(json.dumps(make(size, store, LOCAL).told), encoding="utf-8")
    return Made(json.loads(kept.read_text(encoding="utf-8")), store)


if __name__ == "__main__":
    main()
