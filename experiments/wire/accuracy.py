"""What training through decoded values costs in accuracy: accuracy.csv.

python experiments/wire/accuracy.py
"""

from __future__ import annotations

import sys
from statistics import fmean

from tables import Row, write

from floss_sim import RunConfig, load_profile, load_task, open_learner, run
from floss_sim.methods import method_from_name
from floss_sim.training import test_metrics

CODES = ("fp32", "fp16", "bf16", "int8", "int4", "tail", "sign")  # of both directions
SEEDS, ROUNDS = range(5), 100


def train(code: str, seed: int) -> Row:
    """Return the accuracies of FLoSS at rank 16, a quarter down and a sixteenth up."""
    method = method_from_name(
        "floss", down_density=1 / 4, up_density=1 / 16, down_values=code, up_values=code
    )
    config = RunConfig.of(load_task("digits"), method, rank=16, seed=seed)
    learner = open_learner(config, "cpu")
    record = run(config, load_profile("paper-200-20"), learner, rounds=ROUNDS)
    rows = record.rounds.to_pylist()
    return {
        "values": code,
        "seed": seed,
        "validation": rows[-1]["accuracy"],
        "test": test_metrics(config, learner.model(), "cpu")["accuracy"],
        "down_bytes": fmean(row["down_bytes"] for row in rows) / config.server.cohort,
        "up_bytes": fmean(row["up_bytes"] for row in rows) / config.server.cohort,
    }


def main() -> None:
    """Train every code with every seed."""
    rows = []
    for seed in SEEDS:
        for code in CODES:
            rows.append(train(code, seed))
            print(rows[-1], file=sys.stderr)
    write("accuracy.csv", rows)


if __name__ == "__main__":
    main()
