"""Predicted bytes beside those of the recorded grids, which are no part of the fit.

    python experiments/message_sizes/recorded_grid.py

The grid of ``digits`` has 64 configurations, 400 rounds and three seeds, trained by the sequential
learner. Prints the median and the 90 % quantile of the relative errors of both directions over the
runs of a kind, at simple sizes and as predicted now.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from floss_sim import RunConfig, floss, load_task
from floss_sim.methods import WAYS
from floss_sim.methods.size_statistics import density_band
from floss_sim.wire import predict_nbytes

GRID = Path(__file__).parents[1] / "real_grid" / "digits.parquet"


def main() -> None:
    """Compare, and print a line for each direction and band of densities."""
    table = pq.read_table(GRID)
    table = table.filter(pc.equal(table["method"], "floss"))
    ends = table.group_by(["rank", "down_density", "up_density", "seed"]).aggregate(
        [("round", "max"), ("down_bytes", "max"), ("up_bytes", "max")]
    )
    task, errors = load_task("digits"), defaultdict(list)
    for run in ends.to_pylist():
        down, up, rounds = run["down_density"], run["up_density"], run["round_max"]
        config = RunConfig.of(task, floss(down, up), rank=run["rank"], seed=run["seed"])
        entries, cohort = config.layout.entries, config.server.cohort
        for way in WAYS:
            real = run[f"{way}_bytes_max"] / (rounds * cohort)
            kept = max(1, int((down if way == "down" else up) * entries))
            simple = predict_nbytes(entries, kept)
            predicted = float(config.sizes.messages(way, 0, 1, rounds)[0].mean())
            band = density_band(way, down, up)
            errors[way, band].append((simple / real - 1, predicted / real - 1))
    for (way, band), found in sorted(errors.items()):
        sizes = np.abs(np.array(found))
        middle, most = (np.quantile(sizes, level, axis=0) for level in (0.5, 0.9))
        print(
            f"{way:4} {band:22} {len(found):3} runs: median {middle[0]:.1%}, now {middle[1]:.1%}; "
            f"90 % within {most[0]:.1%}, now {most[1]:.1%}"
        )


if __name__ == "__main__":
    main()
