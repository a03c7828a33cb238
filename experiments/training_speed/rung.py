"""What a rung of the search costs: 16 candidates side by side, one by one, and before the bank.

python experiments/training_speed/rung.py [--rounds 15] [--repetitions 3] [--out rungs.csv]

Every peer starts from an empty folder, commits its runs as the planner's store does, and evaluates
them at the store's rounds; each plays in one process on one thread, in turns with the others.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import torch

from floss_sim import RunConfig, RunFolder, floss, load_profile, load_task, open_learner, run
from floss_sim.malloc import keep_freed_memory
from floss_sim.training import learner_identity
from planner.execution.curve_store import CurveStore, last_evaluated_round
from planner.execution.trainer import LocalTrainer

HERE = Path(__file__).parent
COLUMNS = ("peer", "task", "rounds", "repetition", "candidates", "seconds")
RANKS, DENSITIES = (1, 4, 16, 32), ((1.0, 1.0), (1.0, 1 / 16), (1 / 4, 1 / 4), (1 / 4, 1 / 16))


class Here(Executor):
    """Runs what it is given at once, in this process."""

    def submit(self, function: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        """Return what is done already."""
        future: Future[Any] = Future()
        future.set_result(function(*arguments, **named))
        return future


def one_by_one(learner: str) -> Callable[[Path, list[RunConfig], int], None]:
    """Return what trains runs one after another, dense P measured, as before runs shared passes."""

    def play(root: Path, configs: list[RunConfig], rounds: int) -> None:
        network = load_profile("paper-200-20")
        for number, config in enumerate(configs):
            about = config.description(learner_identity(config, learner, "cpu"))
            folder = RunFolder.open(root / str(number), about)
            at = {n for n in range(1, rounds + 1) if last_evaluated_round(n) == n}
            with folder.lock():
                run(
                    config, network, open_learner(config, "cpu", learner=learner),
                    rounds=rounds, folder=folder, eval_at=at,
                )  # fmt: skip

    return play


def side_by_side(root: Path, configs: list[RunConfig], rounds: int) -> None:
    """Train runs as the planner does."""
    jobs = [(config, rounds) for config in configs]
    LocalTrainer(CurveStore(root, "cpu"), Here()).train(jobs, lambda: None)


PEERS = {
    "side by side": side_by_side,
    "bank, one by one": one_by_one("bank"),
    "sequential": one_by_one("sequential"),
}


def main() -> None:
    """Measure in turns; write the table, and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="digits")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE / "rungs.csv")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as the workers do
    task = load_task(chosen.task)
    configs = [RunConfig.of(task, floss(*d), rank=r) for r in RANKS for d in DENSITIES]
    rows: list[dict[str, Any]] = []
    for repetition in range(chosen.repetitions + 1):
        for peer, play in PEERS.items():
            with tempfile.TemporaryDirectory() as root:
                began = time.process_time()
                play(Path(root), configs if repetition else configs[:4], chosen.rounds)
                seconds = time.process_time() - began
            if repetition:  # the first turn warms up
                about = {"task": chosen.task, "rounds": chosen.rounds, "candidates": len(configs)}
                rows.append({"peer": peer, **about, "repetition": repetition, "seconds": seconds})
                print(rows[-1], flush=True)
    with chosen.out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows({**row, "seconds": f"{row['seconds']:.3f}"} for row in rows)
    report(rows)


def report(rows: list[dict[str, Any]]) -> None:
    """Print the medians, and ratios of the same repetition."""
    of = {peer: [row["seconds"] for row in rows if row["peer"] == peer] for peer in PEERS}
    for peer, seconds in of.items():
        ratio = statistics.median(
            s / own for s, own in zip(seconds, of["side by side"], strict=True)
        )
        print(f"{peer:18} {statistics.median(seconds):7.2f} s, {ratio:.2f} x side by side")


if __name__ == "__main__":
    main()
