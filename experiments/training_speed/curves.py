"""Whether the bank learns what the sequential learner learns: accuracy over 50 rounds of digits.

Rounding alone makes curves differ: it flips near ties of the top-k. How much is told by a second
sequential run whose first vector is off by one unit in the last place, at random.

python experiments/training_speed/curves.py [--rounds 50] [--seeds 5]
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from floss_sim import RunConfig, floss, load_profile, load_task, open_learner, run

HERE = Path(__file__).parent


def curve(config: RunConfig, learner: str, rounds: int, *, nudged: bool = False) -> np.ndarray:
    """Return the validation accuracy after every fifth round."""
    opened = open_learner(config, "cpu", learner=learner)
    if nudged:
        begin = opened.snapshot()
        first = begin.tensors["P"]
        towards = np.random.default_rng(config.seed).choice([-np.inf, np.inf], first.size)
        other = np.nextafter(first, towards.astype(np.float32))
        moved = np.where(first == 0, first, other).astype(np.float32)
        opened.restore(replace(begin, tensors={**begin.tensors, "P": moved}))
    record = run(config, load_profile("paper-200-20"), opened, rounds=rounds, eval_every=5)
    return record.evaluated()["accuracy"].to_numpy()


def main() -> None:
    """Write curves.csv; print the largest and the mean difference of each pair."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=5)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows, differences = [], {"bank": [], "nudged": []}
    for seed in range(chosen.seeds):
        config = RunConfig.of(load_task("digits"), floss(1 / 4, 1 / 16), rank=16, seed=seed)
        curves = {
            "sequential": curve(config, "sequential", chosen.rounds),
            "bank": curve(config, "bank", chosen.rounds),
            "nudged": curve(config, "sequential", chosen.rounds, nudged=True),
        }
        for name, found in differences.items():
            found.append(curves[name] - curves["sequential"])
        for index in range(len(curves["bank"])):
            told = {name: f"{values[index]:.6f}" for name, values in curves.items()}
            rows.append({"seed": seed, "round": 5 * (index + 1), **told})
    with (HERE / "curves.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for name, found in differences.items():
        away = np.abs(np.concatenate(found))
        print(f"{name} against sequential: mean {away.mean():.5f}, largest {away.max():.5f}")


if __name__ == "__main__":
    main()
