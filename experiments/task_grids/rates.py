"""How the best learning rates move with rank, density and rounds: tables from recorded grids.

python experiments/task_grids/rates.py > experiments/task_grids/rates.md
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from planner.plans.rate_test import RatePair, better_rates

HERE = Path(__file__).parent
CONFIGURATION = ["rank", "down_density"]
RATES = ["client_lr", "server_lr"]
TASK_RATES = (0.05, 0.005)  # of digits, as packaged
EXAMPLES = 350  # of validation
END = (35, 50)  # rounds whose evaluations are averaged: the end of a run
SPANS = ((35, 50), (80, 100), (170, 200))  # the same after more rounds
LENGTHS = (10, 15, 20, 30)  # rounds of a range test
RANK_POWERS = {
    "no change with the rank": 0.0,
    "rank^(1/4)": 0.25,
    "rank^(1/2), what makes up for alpha / rank where rsLoRA has alpha / sqrt(rank)": 0.5,
    "rank, what makes up for alpha / rank as a whole": 1.0,
}
DENSITY_POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)


def accuracies(table: pd.DataFrame, after: float, until: float) -> pd.Series:
    """Return mean accuracies in percent of rounds in (after, until], by configuration and rates."""
    rows = table[(table["round"] > after) & (table["round"] <= until)]
    return 100 * rows.groupby([*CONFIGURATION, *RATES])["accuracy"].mean()


def by_server_rate(end: pd.Series) -> Iterator[str]:
    """Yield the table of accuracies by rank, density and server rate, over client rates."""
    means = end.groupby([*CONFIGURATION, "server_lr"]).mean().unstack("server_lr")
    yield "| rank | density | " + " | ".join(f"{rate:.2g}" for rate in means.columns) + " |"
    yield "|---" * (2 + means.shape[1]) + "|"
    for (rank, density), row in means.sort_index(ascending=[True, False]).iterrows():
        cells = [f"**{v:.1f}**" if v == row.max() else f"{v:.1f}" for v in row]
        yield f"| {rank} | {density:g} | " + " | ".join(cells) + " |"


def regret(end: pd.Series, rank_power: float, density_power: float) -> tuple[float, float]:
    """Return mean and largest loss in points of one rule for the server's rate.

    The rate is 5e-3 (rank / 16)^rank_power density^-density_power; accuracies between tested rates
    are interpolated in the rate's logarithm, the means over client rates.
    """
    lost = []
    means = end.groupby([*CONFIGURATION, "server_lr"]).mean()
    for (rank, density), row in means.groupby(CONFIGURATION):
        tested = row.droplevel(CONFIGURATION)
        wanted = np.log(TASK_RATES[1] * (rank / 16) ** rank_power * density**-density_power)
        reached = np.interp(wanted, np.log(tested.index.to_numpy()), tested.to_numpy())
        lost.append(tested.max() - reached)
    return float(np.mean(lost)), float(np.max(lost))


def over_rounds(table: pd.DataFrame) -> Iterator[str]:
    """Yield the table of accuracies by rounds, density and server rate, over seeds."""
    rates = sorted(table["server_lr"].unique())
    yield "| rounds | density | " + " | ".join(f"{rate:.2g}" for rate in rates) + " |"
    yield "|---" * (2 + len(rates)) + "|"
    for after, until in SPANS:
        end = accuracies(table, after, until)
        means = end.groupby(["down_density", "server_lr"]).mean().unstack("server_lr")
        for density, row in means.sort_index(ascending=False).iterrows():
            cells = [f"**{v:.1f}**" if v == row.max() else f"{v:.1f}" for v in row]
            yield f"| {until} | {density:g} | " + " | ".join(cells) + " |"


def rules(end: pd.Series) -> Iterator[str]:
    """Yield the table of what each rule loses."""
    powers = [f"density^-{power:g}" if power else "any density" for power in DENSITY_POWERS]
    yield "| server rate grows with | " + " | ".join(powers) + " |"
    yield "|---" * (1 + len(powers)) + "|"
    for name, rank_power in RANK_POWERS.items():
        cells = [regret(end, rank_power, power) for power in DENSITY_POWERS]
        yield f"| {name} | " + " | ".join(f"{m:.1f} ({w:.1f})" for m, w in cells) + " |"


def tests(table: pd.DataFrame, end: pd.Series) -> Iterator[str]:
    """Yield the table of what range tests of several lengths choose, and what it reaches."""
    yield "| rounds | pairs changed | better at the end | worse at the end | largest loss |"
    yield "|---|---|---|---|---|"
    for length in LENGTHS:
        gains = [gain for gain in gains_of_tests(table, end, length) if gain is not None]
        better, worse = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
        loss = max(0.0, -min(gains, default=0.0))
        yield f"| {length} | {len(gains)} of 12 | {better} | {worse} | {loss:.1f} |"


def gains_of_tests(table: pd.DataFrame, end: pd.Series, length: int) -> Iterator[float | None]:
    """Yield for each configuration the points gained by its tested pair; None if none is clear."""
    early = accuracies(table, length / 2, length) / 100
    for place, row in early.groupby(CONFIGURATION):
        pairs = {
            rates: RatePair(client_lr=rates[0], server_lr=rates[1], accuracy=accuracy)
            for rates, accuracy in row.droplevel(CONFIGURATION).items()
            if TASK_RATES[1] / 4 < rates[1] < 4 * TASK_RATES[1]
        }
        own = next(pair for pair in pairs.values() if pair.has_rates(*TASK_RATES))
        better = better_rates(own, pairs.values(), EXAMPLES)
        rates = {id(pair): rates for rates, pair in pairs.items()}
        yield better and float(end[(*place, *rates[id(better)])] - end[(*place, *rates[id(own)])])


def main() -> None:
    """Print the tables."""
    table = pd.read_parquet(HERE / "digits-rates.parquet")
    end = accuracies(table, *END)
    spread = end.groupby([*CONFIGURATION, "server_lr"]).agg(lambda v: v.max() - v.min())
    good = spread[end.groupby([*CONFIGURATION, "server_lr"]).mean() > 80]
    print("# Learning rates on digits, tables\n")
    print("Validation accuracy in percent after 50 rounds, mean over three client rates:\n")
    print("\n".join(by_server_rate(end)))
    print(
        f"\nOver a factor of nine in the client's rate, accuracies above 80 % differ by "
        f"{good.median():.1f} points in the median, {good.max():.1f} at most.\n"
    )
    print("Points lost by rules for the server's rate, mean (largest) of 12 configurations:\n")
    print("\n".join(rules(end)))
    print("\nWhat a test of each configuration's own nine pairs would change:\n")
    print("\n".join(tests(table, end)))
    print("\nAfter more rounds, rank 16, client rate 0.05, mean over two seeds:\n")
    print("\n".join(over_rounds(pd.read_parquet(HERE / "digits-rates-long.parquet"))))


if __name__ == "__main__":
    main()
