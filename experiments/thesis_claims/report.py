"""Tables and pictures of the study, from its data alone.

python experiments/thesis_claims/report.py
"""

from __future__ import annotations

import csv
import statistics
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from floss_sim.plots.figure import save

HERE = Path(__file__).parent
AXES = (
    ("round", 1.0, "round"),
    ("total_bytes", 1e-6, "bytes of all clients, both ways (MB, log)"),
    ("closed_at_s", 1.0, "simulated time (s, log), 200 Mbit/s down, 20 up"),
)
STYLES = {  # one method, one look, in every picture
    "dense r16": ("#000000", "-"),
    "dense r4": ("#7f7f7f", "--"),
    "FLoSS 1/4": ("#d55e00", "-"),
    "SparseAdapter 1/4 (per tensor)": ("#0072b2", "-"),
    "SparseAdapter 1/4 (global)": ("#0072b2", ":"),
    "AdapterLTH 0.98 (per tensor)": ("#009e73", "-"),
    "AdapterLTH 0.98 (global)": ("#009e73", ":"),
}
Row = dict[str, Any]


def main() -> None:
    """Draw and tabulate every setting whose data are there."""
    inputs = tomllib.loads((HERE / "inputs.toml").read_text(encoding="utf-8"))
    parts = []
    for setting in inputs["setting"]:
        path = HERE / f"{setting['name']}.csv"
        if path.exists():
            data = read(path)
            timing = timings() if "timing" in setting else {}
            parts.append(f"## {setting['title']}\n\n{table(data, setting['target'], timing)}")
            save(picture(data, setting), HERE / f"{setting['name']}.png")
    text = "\n".join(parts)
    (HERE / "results.md").write_text(text, encoding="utf-8")
    print(text)


def read(path: Path) -> list[Row]:
    """Return the data, numbers parsed; an empty cell is None."""
    words = ("mark", "label")
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {k: v if k in words else float(v) if v else None for k, v in row.items()}
            for row in csv.DictReader(file)
        ]


def labels(data: Sequence[Row]) -> list[str]:
    """Return the methods in the order of the data."""
    return list(dict.fromkeys(row["label"] for row in data))


def at_end(data: Sequence[Row], label: str) -> list[Row]:
    """Return the last row of each seed of a method."""
    own = [row for row in data if row["label"] == label]
    last = max(row["round"] for row in own)
    return [row for row in own if row["round"] == last]


def table(data: Sequence[Row], target: float, timing: Mapping[str, float]) -> str:
    """Return the methods as a Markdown table: the best test accuracy first.

    Args:
        data: Of one setting.
        target: The accuracy whose price in bytes is told.
        timing: Host time a round over dense LoRA's, by method, where it was measured.
    """
    rows = []
    for label in labels(data):
        ends = at_end(data, label)
        tests = [row["test_accuracy"] for row in ends]
        cells = [
            label,
            str(len(ends)),
            spread([row["accuracy"] for row in ends]),
            spread(tests),
            f"{ends[0]['client_lr']:g} / {ends[0]['server_lr']:g}",
            kilo([row["down_bytes"] for row in ends]),
            kilo([row["up_bytes"] for row in ends]),
            reached(data, label, target),
            f"{statistics.mean(row['closed_at_s'] for row in ends):.2f}",
            f"{timing[label]:.2f}" if label in timing else "",
        ]
        rows.append((statistics.mean(tests), cells))
    head = [
        "method", "seeds", "validation", "test", "client / server lr", "down kB", "up kB",
        f"MB to {100 * target:g} %", "seconds", "host time",
    ]  # fmt: skip
    ordered = [cells for _, cells in sorted(rows, key=lambda row: -row[0])]
    lines = [head, ["---"] * len(head), *ordered]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def reached(data: Sequence[Row], label: str, target: float) -> str:
    """Return the MB of all clients until the mean validation accuracy reaches a target."""
    own = [row for row in data if row["label"] == label]
    for round_ in sorted({row["round"] for row in own}):
        seeds = [row for row in own if row["round"] == round_]
        shared = len(seeds) == len({row["seed"] for row in own})
        if shared and statistics.mean(row["accuracy"] for row in seeds) >= target:
            return f"{statistics.mean(row['total_bytes'] for row in seeds) / 1e6:.1f}"
    return "-"


def timings() -> dict[str, float]:
    """Return host time a round over dense LoRA's, by method, if it was measured."""
    path = HERE / "timing.csv"
    return {row["label"]: row["relative"] for row in read(path)} if path.exists() else {}


def spread(values: Sequence[float]) -> str:
    """Return mean, standard deviation and range in percent."""
    percent = [100 * value for value in values]
    deviation = statistics.stdev(percent) if len(percent) > 1 else 0.0
    mean = statistics.mean(percent)
    return f"{mean:.1f} ± {deviation:.1f} ({min(percent):.1f} to {max(percent):.1f})"


def kilo(values: Sequence[float]) -> str:
    """Return a mean payload in kB."""
    return f"{statistics.mean(values) / 1000:.1f}"


def picture(data: Sequence[Row], setting: Row) -> Figure:
    """Return accuracy against rounds, bytes and seconds: the mean, and the range as a band."""
    figure = Figure(figsize=(13, 4.6), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    shown = [label for label in labels(data) if label in STYLES]
    for ax, axis in zip(panels, AXES, strict=True):
        for label in shown:
            draw(ax, [row for row in data if row["label"] == label], axis, label)
        ax.set_xlabel(axis[2])
        ax.grid(alpha=0.3)
        ax.set_ylim(setting["floor"], 100 if setting["floor"] else None)
        if axis[0] == "round":
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        else:
            ax.set_xscale("log")
            ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
            ax.xaxis.set_minor_formatter(NullFormatter())
    panels[0].set_ylabel("validation accuracy of the model as sent (%)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    seeds = len(setting["seeds"])
    figure.suptitle(f"{setting['title']}: mean and range over {seeds} seeds")
    return figure


def draw(ax: Axes, rows: Sequence[Row], axis: tuple[str, float, str], label: str) -> None:
    """Draw one method: at each evaluated round the mean over seeds, and the range."""
    name, scale, _ = axis
    points = []
    seeds_in_all = len({row["seed"] for row in rows})
    for round_ in sorted({row["round"] for row in rows}):
        seeds = [row for row in rows if row["round"] == round_]
        if len(seeds) < seeds_in_all:
            continue  # not all seeds were evaluated there
        accuracies = [100 * row["accuracy"] for row in seeds]
        x = scale * statistics.mean(row[name] for row in seeds)
        points.append((x, statistics.mean(accuracies), min(accuracies), max(accuracies)))
    x, mean, low, high = zip(*points, strict=True)
    color, line = STYLES[label]
    ax.plot(x, mean, color=color, linestyle=line, label=label)
    ax.fill_between(x, low, high, color=color, alpha=0.12, linewidth=0)


if __name__ == "__main__":
    main()
