"""Tables and picture of the study, from its data: ``results.md`` and ``accuracy.png``.

python experiments/methods_2026/report.py
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from floss_sim.plots.figure import COLOURS, save

HERE = Path(__file__).parent
OTHERS = ("FLoSS r16, 1/4 and 1/4", "dense r16")  # what each configuration is compared with
LEVEL = 0.9  # of intervals
_DASHES = ("-", "--", ":")


def main() -> None:
    """Write the tables and the picture."""
    inputs = tomllib.loads((HERE / "inputs.toml").read_text(encoding="utf-8"))
    results, curves = (pd.read_csv(HERE / f"{name}.csv") for name in ("results", "curves"))
    order = [one["label"] for one in inputs["configuration"]]
    tables = [
        table(results[(results.upload_ratio == ratio) & (results.budget == budget)], order)
        for ratio in inputs["upload_ratios"]
        for budget in inputs["budgets"]
    ]
    (HERE / "results.md").write_text("\n".join(tables), encoding="utf-8")
    save(picture(curves, order, inputs), HERE / "accuracy.png")
    print((HERE / "results.md").read_text(encoding="utf-8"))


def table(rows: pd.DataFrame, order: list[str]) -> str:
    """Return the table of one budget and upload ratio."""
    ratio, budget = rows.upload_ratio.iloc[0], rows.budget.iloc[0]
    tests = rows.pivot(index="seed", columns="configuration", values="test")
    lines = [
        f"## {budget} dense rounds, upload ratio {ratio}",
        "",
        "| configuration | server rate | rounds | down | up | test | minus FLoSS | minus dense |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for label in order:
        own = rows[rows.configuration == label]
        cap = " (cap)" if (own.binds == "cap").all() else ""
        against = [difference(tests[label] - tests[other]) for other in OTHERS]
        lines.append(
            f"| {label} | {own.server_lr.iloc[0]:g} | {own['rounds'].mean():.0f}{cap} | "
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


def picture(curves: pd.DataFrame, order: list[str], inputs: dict[str, object]) -> Figure:
    """Return validation accuracy against cost in dense rounds, a panel for each upload ratio."""
    ratios = inputs["upload_ratios"]
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    panels = figure.subplots(1, len(ratios), sharey=True)
    for panel, ratio in zip(panels, ratios, strict=True):
        dense = curves[curves.configuration == order[0]]
        unit = float((dense[f"cost_{ratio}"] / dense["round"]).mean())
        for number, label in enumerate(order):
            own = curves[curves.configuration == label].groupby("round").mean(numeric_only=True)
            look = COLOURS[number % len(COLOURS)], _DASHES[number // len(COLOURS)]
            draw(panel, own[f"cost_{ratio}"] / unit, 100 * own.accuracy, label, look)
        panel.set(
            xscale="log", xlim=(2, 100), ylim=(50, 100), title=f"upload ratio {ratio}",
            xlabel="cost in rounds of dense LoRA of rank 16",
        )  # fmt: skip
        panel.set_xticks([2, 5, 10, 25, 50, 100], ["2", "5", "10", "25", "50", "100"])
        panel.minorticks_off()
        panel.grid(alpha=0.25)
    panels[0].set_ylabel("validation accuracy, %, mean of seeds")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
    return figure


def draw(
    panel: Axes,
    cost: pd.Series[float],
    accuracy: pd.Series[float],
    label: str,
    look: tuple[str, str],
) -> None:
    """Draw one smoothed curve."""
    smooth = np.convolve(np.pad(accuracy, 1, mode="edge"), np.ones(3) / 3, mode="valid")
    width = 2.2 if label in OTHERS else 1.3
    panel.plot(cost, smooth, color=look[0], linestyle=look[1], linewidth=width, label=label)


if __name__ == "__main__":
    main()
