"""What it costs, and what it hides, that updates are ranked by the device and passes begun ahead.

python experiments/training_speed/ahead.py [--network lte] [--out ahead.csv]

Two cases, both forced on for the CPU; records are checked to be equal:

- trained: ``digits``, which the CPU trains and ranks itself, so that this is the cost.
- waited: vectors as long as ViT-B's at rank 16; a pass trains nothing, but waits without needing
  the host and adds noise. A device it is not: it shows how much of the host's encoding disappears
  behind a pass that leaves the host alone.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from gpu import Equal, unevaluated, vit

from floss_sim import RunConfig, floss, load_profile, load_task, open_learner, run
from floss_sim.training.learners import passes
from floss_sim.training.learners.bank_learner import BankLearner
from floss_sim.training.local_sgd import Work

HERE = Path(__file__).parent
COLUMNS = ("case", "peer", "network", "cohort", "chunk", "repetition", "wall_ms", "cpu_ms")
PEERS: dict[str, dict[str, bool]] = {
    "as on a CPU": {},
    "ranked by the device": {"ranks": True},
    "begun ahead": {"ahead": True},
    "both": {"ranks": True, "ahead": True},
}
WIDE = {"intermediate_size": 64, "image_size": 32, "patch_size": 16}  # q and v as ViT-B's
TINY = WIDE | {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}


@contextmanager
def waited(entries: int, seconds: float) -> Iterator[None]:
    """Let passes wait instead of training."""
    noise_CN = torch.from_numpy(np.random.default_rng(0).normal(size=(8, entries))).float()

    def wait(model: Any, x: Any, y: Any, settings: Any, works: Sequence[Work]) -> torch.Tensor:
        time.sleep(seconds)
        starts_CN = torch.from_numpy(np.stack([work.start for work in works]))
        return starts_CN + 1e-3 * noise_CN[torch.arange(len(works)) % len(noise_CN)]

    with patch.object(passes, "train_together", wait):
        yield


def measure(
    case: str, config: RunConfig, peers: Sequence[str], chosen: argparse.Namespace
) -> list[dict[str, Any]]:
    """Return a row for each peer and repetition, played in turns."""
    opened, network = open_learner(config, "cpu"), load_profile(chosen.network)
    about = {"case": case, **{key: getattr(chosen, key) for key in COLUMNS[2:5]}}
    rows, tables = [], []
    for repetition in range(chosen.repetitions + 1):
        for peer in peers:
            learner = BankLearner(config, opened._model, chosen.chunk, **PEERS[peer])
            began = time.perf_counter(), time.process_time()
            record = run(config, network, learner, rounds=chosen.rounds)
            ended = time.perf_counter(), time.process_time()
            tables.append(record.transfers)
            wall_ms, cpu_ms = (
                1e3 * (b - a) / chosen.rounds for a, b in zip(began, ended, strict=True)
            )
            spent = {"repetition": repetition, "wall_ms": wall_ms, "cpu_ms": cpu_ms}
            rows.append({"peer": peer, **about, **spent})
    if not all(table.equals(tables[0]) for table in tables):
        raise SystemExit(f"{case}: records differ")
    return [row for row in rows if row["repetition"]]  # the first turn warms up


def report(rows: list[dict[str, Any]]) -> None:
    """Print medians of the wall's and the processor's milliseconds a round."""
    for peer in dict.fromkeys(row["peer"] for row in rows):
        own = [row for row in rows if row["peer"] == peer]
        wall, cpu = (statistics.median(row[key] for row in own) for key in ("wall_ms", "cpu_ms"))
        print(f"{own[0]['case']:8} {peer:22} wall {wall:6.1f} ms  cpu {cpu:6.1f} ms a round")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="lte")
    parser.add_argument("--cohort", type=int, default=48)
    parser.add_argument("--chunk", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--wait-ms", type=float, default=20)
    parser.add_argument("--dry-run", action="store_true", help="short vectors")
    parser.add_argument("--out", type=Path, default=HERE / "ahead.csv")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, unevaluated():
        cohort = {"fleet": {"clients": 2 * chosen.cohort}, "server": {"cohort": chosen.cohort}}
        method, wide = (
            floss(1 / 4, 1 / 16),
            vit(Path(folder) / "vit", TINY if chosen.dry_run else WIDE),
        )
        digits = RunConfig.of(load_task("digits"), method, rank=16).with_(**cohort)
        large = Equal.of(wide, method, rank=16).with_(**cohort)
        rows += measure("trained", digits, list(PEERS), chosen)
        with waited(large.layout.entries, chosen.wait_ms / 1e3):
            rows += measure("waited", large, ["as on a CPU", "begun ahead"], chosen)
    for case in ("trained", "waited"):
        report([row for row in rows if row["case"] == case])
    with chosen.out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.1f}" if isinstance(v, float) else v for k, v in row.items()})


if __name__ == "__main__":
    main()
