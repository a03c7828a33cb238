"""Tables and picture of a task's study, from its data: ``results.md`` and ``accuracy.png``.

python experiments/methods_2026/report.py experiments/methods_2026/digits/inputs.toml
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from floss_sim.plots.figure import COLOURS, save

OTHERS = ("FLoSS r16, 1/4 and 1/4", "dense r16")  # what each configuration is compared with
LEVEL = 0.9  # of intervals


def main(path: Path) -> None:
    """Write the tables and the picture beside the inputs."""
    inputs = tomllib.loads(path.read_text(encoding="utf-8"))
    results = pd.read_csv(path.with_name("results.csv"))
    order = [one["label"] for one in inputs["configuration"]]
    tables = [
        table(results[(results.upload_ratio == ratio) & (results.budget == budget)], order)
        for ratio in inputs["upload_ratios"]
        for budget in inputs["budgets"]
    ]
    path.with_name("results.md").write_text("\n".join(tables), encoding="utf-8")
    save(picture(path.parent.name, results, order), path.with_name("accuracy.png"))
    print("\n".join(tables))


def table(rows: pd.DataFrame, order: list[str]) -> str:
    """Return the table of one budget and upload ratio."""
    ratio, budget = rows.upload_ratio.iloc[0], rows.budget.iloc[0]
    tests = rows.pivot(index="seed", columns="configuration", values="test")
    lines = [
        f"## {budget} dense rounds, upload ratio {ratio}",
        "",
        "| configuration | rate | rounds | down | up | test | minus FLoSS | minus dense |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for label in order:
        own = rows[rows.configuration == label]
        cap = " (cap)" if (own.binds == "cap").all() else ""
        against = [difference(tests[label] - tests[other]) for other in OTHERS]
        lines.append(
            f"| {label} | {own.rate.iloc[0]:g} | {own['rounds'].mean():.0f}{cap} | "
            f"{own.down_bytes.mean() / 1e6:.2f} MB | {own.up_bytes.mean() / 1e6:.2f} MB | "
            f"{100 * own.test.mean():.1f} % | {' | '.join(against)} |"
        )
    return "\n".join([*lines, ""])


def difference(values: pd.Series[float]) -> str:
    """Return a paired difference in points with its t interval over seeds."""
    if not values.any():
        return ""
    half = stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * stats.sem(values)
    mean = values.mean()
    return f"{100 * mean:+.1f} ({100 * (mean - half):+.1f} to {100 * (mean + half):+.1f})"


def picture(task: str, results: pd.DataFrame, order: list[str]) -> Figure:
    """Return test accuracies of all seeds, a panel for each upload ratio and budget."""
    ratios, budgets = results.upload_ratio.unique(), results.budget.unique()
    figure = Figure(figsize=(11, 8), layout="constrained")
    panels = figure.subplots(len(ratios), len(budgets), sharex="col", sharey=True, squeeze=False)
    for line, ratio in zip(panels, ratios, strict=True):
        for panel, budget in zip(line, budgets, strict=True):
            rows = results[(results.upload_ratio == ratio) & (results.budget == budget)]
            draw(panel, rows, order)
            panel.set_title(f"{budget} dense rounds, upload ratio {ratio}", fontsize="medium")
    for panel in panels[-1]:
        panel.set_xlabel("test accuracy, %")
    figure.suptitle(
        f"{task}: test accuracy within equal budgets, in rounds of {order[0]} by bytes over rates\n"
        "dots: seeds; bars: their means; orange: what the others are compared with"
    )
    return figure


def draw(panel: Axes, rows: pd.DataFrame, order: list[str]) -> None:
    """Draw the seeds of each configuration as dots, and their mean as a bar."""
    for height, label in enumerate(reversed(order)):
        tests = 100 * rows[rows.configuration == label].test
        colour = COLOURS[1] if label in OTHERS else COLOURS[0]
        panel.plot(tests, [height] * len(tests), "o", color=colour, markersize=4, alpha=0.6)
        panel.plot([tests.mean()], [height], "|", color=colour, markersize=14, markeredgewidth=2)
    panel.set_yticks(range(len(order)), order[::-1])
    panel.grid(axis="x", alpha=0.3)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
