"""What the default ``floss-plan`` takes from an empty store, now and with the sequential learner.

python experiments/training_speed/plan.py [--effort 0.05] [--revision 63fdcd4] [--out plans.csv]

A revision of this repository plays with all that it was; it needs a clone with its history.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from floss_sim.protocol import LearnerIdentity
from floss_sim.training import MAX_RUNS, learner_identity, open_learner
from planner.execution import curve_store, workers

HERE = Path(__file__).parent
COLUMNS = (
    "learner", "effort", "wall_s", "cpu_s", "again_wall_s", "again_cpu_s",
    "trained_rounds", "search_rounds", "runs", "recommended",
)  # fmt: skip
SEQUENTIAL = "FLOSS_SIM_PLAN_BEFORE"  # set: as before the bank and shared passes, in workers too


def as_before() -> None:
    """Train as the planner did: clients in turn, run after run, dense P measured, memory freed."""

    def opened(config: Any, device: str, threads: int, **_: Any) -> Any:
        return open_learner(config, device, threads, "sequential")

    def identity(config: Any, device: str, threads: int) -> LearnerIdentity:
        return learner_identity(config, "sequential", device, threads)

    vars(curve_store).update(open_learner=opened, learner_identity=identity)
    vars(workers).update(MAX_RUNS=dict.fromkeys(MAX_RUNS, 1), keep_freed_memory=lambda: False)


if SEQUENTIAL in os.environ:
    as_before()


@contextmanager
def tree(revision: str) -> Iterator[Path]:
    """Yield a folder that holds a revision of this repository."""
    with tempfile.TemporaryDirectory() as folder:
        git = ["git", "-C", str(HERE), "worktree"]
        subprocess.run([*git, "add", "-q", "--detach", folder, revision], check=True)  # noqa: S603
        try:
            yield Path(folder)
        finally:
            subprocess.run([*git, "remove", "--force", folder], check=True)  # noqa: S603


def plan(learner: str, effort: str, revised: Path | None = None) -> dict[str, Any]:
    """Return what one plan from an empty store took; ``revised`` is a revision's tree."""
    environment = {**os.environ, "PYTHONPATH": str(revised or HERE.parents[1])}
    play = ["-P", "-c", "from planner.cli import main; main()"]
    if learner == "sequential":
        environment[SEQUENTIAL], play = "1", [__file__, "--plan"]
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, *play, "--budget", "50-dense-rounds",
            "--upload-ratio", "16", "--effort", effort, "--device", "cpu",
            "--store", f"{folder}/store", "--out", f"{folder}/out",
        ]  # fmt: skip
        first = _took(command, environment)
        made = json.loads(Path(folder, "out", "plan.json").read_text(encoding="utf-8"))
        again = _took(command, environment)  # nothing to train
        runs = len(list(Path(folder, "store").glob("*/run.json")))
    best = made["recommendation"]
    said = " ".join(str(best[k]) for k in ("rank", "down_density", "up_density") if k in best)
    return {
        "learner": learner, "effort": effort,
        "wall_s": first[0], "cpu_s": first[1], "again_wall_s": again[0], "again_cpu_s": again[1],
        "trained_rounds": made["effort"]["trained_now_rounds"],
        "search_rounds": made["effort"]["search_rounds"], "runs": runs, "recommended": said,
    }  # fmt: skip


def _took(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Return seconds of the wall and of all processors that a command takes."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    wall_s, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return round(wall_s, 1), round(cpu_s, 1)


def main() -> None:
    """Plan in turns; write the table."""
    if sys.argv[1:2] == ["--plan"]:
        from planner.cli import main as floss_plan

        del sys.argv[1]
        floss_plan()
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--effort", default="0.05")
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--revision", help="one that plays, too, such as 63fdcd4")
    parser.add_argument("--out", type=Path, default=HERE / "plans.csv")
    chosen = parser.parse_args()
    rows = []
    with tree(chosen.revision) if chosen.revision else nullcontext() as revised:
        players = {
            "grid": None,
            "sequential": None,
            **({chosen.revision: revised} if revised else {}),
        }
        for _ in range(chosen.repetitions):
            for learner, where in players.items():
                rows.append(plan(learner, chosen.effort, where))
                print(rows[-1], flush=True)
    with chosen.out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
