"""What bfloat16 autocast costs in accuracy: digits, the same seeds in both precisions.

python experiments/training_speed/precision.py [--rounds 100] [--seeds 5] [--device cpu]
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from statistics import mean, stdev

from floss_sim import RunConfig, floss, load_profile, load_task, open_learner, run
from floss_sim.training import test_metrics
from planner.forecasts.smoothing import smoothed_accuracy

HERE = Path(__file__).parent
PRECISIONS = ("fp32", "bf16")


def accuracies(config: RunConfig, rounds: int, device: str) -> tuple[float, float]:
    """Return validation accuracy, smoothed, and test accuracy of the last round's model."""
    learner = open_learner(config, device)
    record = run(config, load_profile("paper-200-20"), learner, rounds=rounds, eval_every=5)
    seen = record.evaluated()
    curve = seen["round"].to_pylist(), seen["accuracy"].to_pylist()
    return smoothed_accuracy(*curve, rounds), test_metrics(config, learner.model(), device)[
        "accuracy"
    ]


def main() -> None:
    """Write precision.csv; print both precisions and their paired difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    chosen = parser.parse_args()
    rows = []
    for seed in range(chosen.seeds):
        base = RunConfig.of(load_task("digits"), floss(1 / 4, 1 / 16), rank=16, seed=seed)
        for precision in PRECISIONS:
            config = base.with_(client={"precision": precision})
            validation, test = accuracies(config, chosen.rounds, chosen.device)
            found = {"validation": f"{validation:.6f}", "test": f"{test:.6f}"}
            rows.append({"device": chosen.device, "seed": seed, "precision": precision, **found})
            print(rows[-1], flush=True)
    with (HERE / "precision.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for split in ("validation", "test"):
        single, half = ([float(r[split]) for r in rows if r["precision"] == p] for p in PRECISIONS)
        away = [100 * (b - a) for a, b in zip(single, half, strict=True)]
        spread = stdev(away) if len(away) > 1 else 0.0
        print(f"{split}: fp32 {100 * mean(single):.2f}, bf16 {100 * mean(half):.2f} percent; "
              f"difference {mean(away):+.2f} +- {spread:.2f} points")  # fmt: skip


if __name__ == "__main__":
    main()
