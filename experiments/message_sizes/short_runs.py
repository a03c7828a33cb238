"""Short runs that no fit has seen, beside the errors that are stated for them.

    python experiments/message_sizes/short_runs.py    # two minutes on one core

Trains FLoSS on ``digits`` for ten rounds, with seeds, ranks and densities beside the recorded ones,
and in each value code. ``short_runs.csv`` has the relative error of the predicted bytes of the
first rounds of each run, and the error that is stated for a run of so many rounds. Prints the share
of runs within it, and within the error of whole runs of 25 to 400 rounds.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from fit import write_csv
from record import Row

from floss_sim import RunConfig, floss, load_profile, load_task, open_learner, run
from floss_sim.analysis.traffic import Traffic
from floss_sim.methods import WAYS
from floss_sim.methods.size_statistics import density_band

ROUNDS = 10
ENDS = (1, 2, 3, 5, 7, 10)  # of the runs of the table
CODES = ("fp32", "int8", "tail")
RANKS = (2, 6, 12, 32)
DENSITIES = ((1, 1), (1, 1 / 3), (1, 1 / 24), (1 / 3, 1 / 6), (1 / 6, 1 / 6), (1 / 6, 1 / 48))
KINDS = Path(__file__).with_name("kinds.csv")


def configs() -> list[tuple[str, RunConfig]]:
    """Return the runs with their value codes: every rank with every pair of densities."""
    task = load_task("digits")
    made = []
    for number, (rank, (down, up), values) in enumerate(product(RANKS, DENSITIES, CODES)):
        method = replace(floss(down, up), down_values=values, up_values=values)
        made.append((values, RunConfig.of(task, method, rank=rank, seed=100 + number)))
    return made


def errors_of(config: RunConfig, values: str, whole: dict[tuple[str, ...], float]) -> list[Row]:
    """Train a run; return the errors of its first rounds, by direction."""
    network, learner = load_profile("paper-200-20"), open_learner(config, "cpu")
    real = Traffic.of(run(config, network, learner, rounds=ROUNDS, eval_every=ROUNDS))
    down, up = (
        size.count / config.layout.entries
        for size in (
            config.method.download_size(config.layout, 0, 0),
            config.method.upload_size(config.layout, 0, 0),
        )
    )
    found = []
    for way in WAYS:
        predicted_R, real_R = config.sizes.messages(way, 0, 1, ROUNDS)[0], getattr(real, way)
        band = density_band(way, down, up)
        for end in ENDS:
            error = float(predicted_R[:end].mean() / real_R[:end].mean()) - 1
            found.append(
                {"run": config.describe(), "seed": config.seed, "direction": way,
                 "values": values, "density": band, "rounds": end, "error": round(error, 4),
                 "stated": config.sizes.error(way, end),
                 "of_whole_runs": whole["floss", way, values, band]}
            )  # fmt: skip
    return found


def main() -> None:
    """Train, write the table, and print the coverage by value code, direction and rounds."""
    with KINDS.open(encoding="utf-8", newline="") as file:
        whole = {
            (r["method"], r["direction"], r["values"], r["density"]): float(r["error"])
            for r in csv.DictReader(file)
        }
    rows = [row for values, made in configs() for row in errors_of(made, values, whole)]
    write_csv("short_runs.csv", rows)
    groups = defaultdict(list)
    for row in rows:
        groups[row["values"], row["direction"], row["rounds"]].append(row)
    for name in ("stated", "of_whole_runs"):
        within = {
            key: np.mean([abs(r["error"]) <= r[name] for r in of_key])
            for key, of_key in groups.items()
        }
        print(f"{name}: {np.mean([abs(r['error']) <= r[name] for r in rows]):.1%}")
        for values, way in product(CODES, WAYS):
            shares = ", ".join(f"{end}: {within[values, way, end]:.0%}" for end in ENDS)
            print(f"  {values:4} {way:4} {shares}")


if __name__ == "__main__":
    main()
