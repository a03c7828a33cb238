"""Figures 5.3 and 5.4 of the thesis on the recorded grid, and their tables.

python experiments/real_grid/report.py
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from cuts import RATIOS, RUN, TESTED, at_budget, best, budget, load, over_seeds, spent
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from floss_sim.methods import dense
from floss_sim.plots.figure import save
from floss_sim.runs.config import RunConfig
from floss_sim.tasks import load_task
from floss_sim.vectors.density import format_density

HERE = Path(__file__).parent
NAME = "digits"
LOOKS = {
    "FLoSS": ("#D55E00", "-"),
    "thesis' rule": ("#D55E00", ":"),
    "dense r16": ("#000000", "-"),
    "dense, best rank": ("#7f7f7f", "--"),
    "SparseAdapter": ("#0072B2", "-"),
    "AdapterLTH": ("#009E73", "-"),
}


def main() -> None:
    """Draw both figures and write the tables."""
    inputs = tomllib.loads((HERE / "inputs.toml").read_text(encoding="utf-8"))
    grid = next(grid for grid in inputs["grid"] if grid["name"] == NAME)
    table, rounds = load(NAME), grid["dense_rounds"]
    run = RunConfig.of(load_task(grid["task"]), dense())
    amounts = {ratio: budget(run, rounds, ratio) for ratio in RATIOS}
    save(figure_ranks(table, amounts, rounds), HERE / "ranks.png")
    save(figure_ratios(table, amounts, rounds), HERE / "ratios.png")
    parts = [f"## After {TESTED} rounds, whatever they cost\n\n{grid_text(after(table, TESTED))}"]
    for ratio, amount in amounts.items():
        ends = over_seeds(at_budget(table, ratio, amount))
        floss = ends[ends["method"] == "floss"]
        parts.append(f"## {rounds} dense rounds, {rates(ratio)}\n")
        parts.append(methods_text(ends, ratio) + "\n")
        parts.append(grid_text(floss))
    text = "\n".join(parts)
    (HERE / "results.md").write_text(text, encoding="utf-8")
    print(text)


def after(table: pd.DataFrame, round_: int) -> pd.DataFrame:
    """Return means over seeds of the grid's runs after a round."""
    grid = table[(table["method"] == "floss") & (table["round"] <= round_)]
    return over_seeds(at_budget(grid, 0.0, float("inf")))


def chosen(ends: pd.DataFrame, ratio: float) -> Iterator[tuple[str, pd.Series]]:
    """Yield the configuration that each method would be run with: chosen on validation."""
    floss = ends[ends["method"] == "floss"]
    dense = floss[(floss["down_density"] == 1) & (floss["up_density"] == 1)]
    rule = floss[
        (floss["rank"] == 16)
        & (floss["down_density"] == 1 / 4)
        & (floss["up_density"] == 1 / 4 / ratio)
    ]
    yield "FLoSS", best(floss)
    yield "thesis' rule", best(rule)
    yield "dense r16", best(dense[dense["rank"] == 16])
    yield "dense, best rank", best(dense)
    yield "SparseAdapter", best(ends[ends["method"] == "sparse-adapter"])
    yield "AdapterLTH", best(ends[ends["method"] == "adapter-lth"])


def figure_ranks(table: pd.DataFrame, amounts: Mapping[int, float], dense_rounds: int) -> Figure:
    """Return test accuracy over ranks and densities: at equal rounds, and at a budget."""
    rows = [(f"after {TESTED} rounds", after(table, TESTED))]
    for ratio, amount in amounts.items():
        ends = over_seeds(at_budget(table, ratio, amount))
        title = f"{dense_rounds} dense rounds, {rates(ratio)}"
        rows.append((title, ends[ends["method"] == "floss"]))
    ranks = sorted(table.loc[table["method"] == "floss", "rank"].unique())
    figure = Figure(figsize=(11, 2.9 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(ranks), sharex=True, sharey=True)
    low = min(float(means["test_accuracy"].quantile(0.15)) for _, means in rows)
    for line, (title, means) in zip(axes, rows, strict=True):
        for ax, rank in zip(line, ranks, strict=True):
            image = heat(ax, means[means["rank"] == rank], low)
            ax.set_title(
                f"rank {rank}, {title}" if rank == ranks[0] else f"rank {rank}", fontsize=9
            )
        line[0].set_ylabel("download density")
    for ax in axes[-1]:
        ax.set_xlabel("upload density")
    figure.colorbar(image, ax=axes, label="test accuracy (%), mean of seeds", shrink=0.6)
    return figure


def heat(ax: Axes, means: pd.DataFrame, low: float) -> Any:
    """Draw one rank: down density by up density, each cell with its accuracy."""
    cells = 100 * means.pivot_table(
        index="down_density", columns="up_density", values="test_accuracy"
    ).sort_index(ascending=False).sort_index(axis=1, ascending=False)
    image = ax.imshow(cells, vmin=100 * low, vmax=100, cmap="viridis", aspect="auto")
    for (row, column), value in zip(
        ((r, c) for r in range(cells.shape[0]) for c in range(cells.shape[1])),
        cells.to_numpy().ravel(),
        strict=True,
    ):
        dark = value < 100 * low + 0.6 * 100 * (1 - low)
        ax.text(
            column, row, f"{value:.1f}", ha="center", va="center", fontsize=8,
            color="white" if dark else "black",
        )  # fmt: skip
    ax.set_xticks(range(cells.shape[1]), [format_density(d) for d in cells.columns])
    ax.set_yticks(range(cells.shape[0]), [format_density(d) for d in cells.index])
    return image


def figure_ratios(table: pd.DataFrame, amounts: Mapping[int, float], dense_rounds: int) -> Figure:
    """Return accuracy against the budget spent, a panel for each upload ratio."""
    figure = Figure(figsize=(13, 4.6), layout="constrained")
    axes = figure.subplots(1, len(amounts), sharey=True)
    for ax, (ratio, amount) in zip(axes, amounts.items(), strict=True):
        means = over_seeds(at_budget(table, ratio, amount))
        share = spent(table, ratio, amount)
        for name, configuration in chosen(means, ratio):
            own = (table[RUN] == configuration[RUN]).all(axis=1) & (share <= 1)
            curve = table[own].assign(spent=100 * share[own]).groupby("round")
            seeds = curve["seed"].count()
            line = curve[["spent", "accuracy"]].mean()[seeds == seeds.max()]
            colour, dashes = LOOKS[name]
            label = f"{name}: {describe(configuration)}"
            ax.plot(line["spent"], 100 * line["accuracy"], color=colour, ls=dashes, label=label)
        ax.set_title(rates(ratio))
        ax.set_xlabel(f"budget spent (% of {dense_rounds} dense rounds)")
        ax.set_xlim(0, 100)
        ax.set_ylim(40, 100)
        ax.grid(alpha=0.3)
        ax.legend(fontsize=7, loc="lower right")
    axes[0].set_ylabel("validation accuracy (%), mean of seeds")
    return figure


def rates(ratio: float) -> str:
    """Return how an upload's rate relates to a download's, in words."""
    return f"uploads {ratio} times slower" if ratio > 1 else "equal rates"


def describe(configuration: pd.Series) -> str:
    """Return, say, ``r16, 1/4 down, 1/16 up``."""
    down, up = (format_density(configuration[f"{way}_density"]) for way in ("down", "up"))
    if configuration["method"] == "floss":
        return f"r{configuration['rank']}, {down} down, {up} up"
    return f"r{configuration['rank']}" + (f", {down}" if down != "1" else "")


def methods_text(ends: pd.DataFrame, ratio: float) -> str:
    """Return the methods of Figure 5.4 as a Markdown table."""
    head = ["method", "configuration", "rounds", "validation", "test"]
    lines = [head, ["---"] * len(head)]
    for name, one in chosen(ends, ratio):
        tested = f"{100 * one['test_accuracy']:.1f} ± {100 * one['spread']:.1f}"
        smoothed = f"{100 * one['smoothed']:.1f}"
        lines.append([name, describe(one), f"{one['round']:.0f}", smoothed, tested])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def grid_text(means: pd.DataFrame) -> str:
    """Return test accuracies of the grid as a Markdown table: a line for rank and down density."""
    ups = sorted(means["up_density"].unique(), reverse=True)
    head = ["rank", "down", *(f"up {format_density(up)}" for up in ups)]
    lines = [head, ["---"] * len(head)]
    for (rank, down), own in means.groupby(["rank", "down_density"], sort=False):
        by = own.set_index("up_density")
        cells = [
            f"{100 * by.loc[up, 'test_accuracy']:.1f} ± {100 * by.loc[up, 'spread']:.1f}"
            if up in by.index
            else "-"
            for up in ups
        ]
        lines.append([str(rank), format_density(float(down)), *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


if __name__ == "__main__":
    main()
