"""Six configurations of FLoSS on digits over three seeds: data, then a table and a picture.

Example:
    python experiments/six_configurations/study.py

Training takes about three minutes on two cores; runs that the curve store holds are not repeated,
and nothing is done where results.csv was made from these inputs by this version of the code.
"""

from __future__ import annotations

import csv
import os
import statistics
import tomllib
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from floss_sim import RunConfig, load_task
from floss_sim.fingerprints import fingerprint
from floss_sim.plots.figure import save
from floss_sim.protocol import LearnerIdentity
from floss_sim.training import resolve_device
from planner.candidates import Candidate
from planner.execution.curve_store import CurveStore, default_root
from planner.execution.trainer import LocalTrainer
from planner.execution.workers import worker_pool

HERE = Path(__file__).parent
COLUMNS = (
    "fingerprint", "rank", "down_density", "up_density", "seed", "round", "accuracy",
    "dense_accuracy", "down_bytes", "up_bytes",
)  # fmt: skip
_EVERY = 10  # other searches may have evaluated the same runs at other rounds too
Row = dict[str, Any]


def main() -> None:
    """Bring data, table and picture up to date."""
    inputs = tomllib.loads((HERE / "inputs.toml").read_text(encoding="utf-8"))
    store = CurveStore(default_root() / "diagnosed", resolve_device("cpu"), diagnose=True)
    task = load_task(inputs["task"])
    runs = {
        (candidate, seed): candidate.config(task, seed)
        for candidate in candidates(inputs)
        for seed in inputs["seeds"]
    }
    wanted = fingerprint(
        {"inputs": inputs, "runs": [c.trajectory(LearnerIdentity("")) for c in runs.values()]}
    )[:16]
    data = HERE / "results.csv"
    if not data.exists() or read(data)[0]["fingerprint"] != wanted:
        train(store, runs, inputs["rounds"])
        write(data, [row for run in runs.items() for row in rows(store, *run, wanted)])
    (HERE / "results.md").write_text(table(read(data), inputs), encoding="utf-8")
    save(picture(read(data), inputs), HERE / "accuracy.png")
    print((HERE / "results.md").read_text(encoding="utf-8"))


def candidates(inputs: Row) -> list[Candidate]:
    """Return the configurations of the study."""
    return [
        Candidate(one["rank"], one["down_density"], one["up_density"])
        for one in inputs["configurations"]
    ]


def train(store: CurveStore, runs: dict[tuple[Candidate, int], RunConfig], rounds: int) -> None:
    """Train what the store lacks, one process a core."""

    def tick() -> None:
        done = sum(min(rounds, store.rounds(config)) for config in runs.values())
        print(f"\r{done} of {rounds * len(runs)} rounds", end="", flush=True)

    with worker_pool(os.cpu_count() or 1) as pool:
        LocalTrainer(store, pool).train([(config, rounds) for config in runs.values()], tick)
    print()


def rows(store: CurveStore, key: tuple[Candidate, int], config: RunConfig, mark: str) -> list[Row]:
    """Return one row for each evaluated round of a run."""
    candidate, seed = key
    record = store.folder(config).record()
    return [
        {**candidate.settings(), **row, "seed": seed, "fingerprint": mark}
        for row in record.evaluated().to_pylist()
        if row["round"] % _EVERY == 0
    ]


def write(path: Path, content: list[Row]) -> None:
    """Write the data."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(content)


def read(path: Path) -> list[Row]:
    """Return the data, numbers parsed."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {name: text if name == "fingerprint" else float(text) for name, text in row.items()}
            for row in csv.DictReader(file)
        ]


def accuracies(data: list[Row], candidate: Candidate, round_: int, column: str) -> list[float]:
    """Return the accuracies of a configuration's seeds after a round."""
    settings = candidate.settings()
    return [
        row[column]
        for row in data
        if row["round"] == round_ and all(row[name] == settings[name] for name in settings)
    ]


def table(data: list[Row], inputs: Row) -> str:
    """Return the results as a Markdown table."""
    marks = inputs["at"]
    titles = [f"{kind} at {at}" for at in marks for kind in ("measured", "expected")]
    lines = [
        f"| configuration | {' | '.join(titles)} | dense P at {marks[-1]} |",
        "|---" * (2 + len(titles)) + "|",
    ]
    for candidate, one in zip(candidates(inputs), inputs["configurations"], strict=True):
        cells = []
        for at, expected in zip(marks, one["expected"], strict=True):
            cells += [spread(accuracies(data, candidate, at, "accuracy")), f"{expected:.2f}"]
        dense = spread(accuracies(data, candidate, marks[-1], "dense_accuracy"))
        lines.append(f"| {candidate} | {' | '.join(cells)} | {dense} |")
    return "\n".join(lines) + "\n"


def spread(values: list[float]) -> str:
    """Return mean and range, such as ``0.921 (0.911 to 0.929)``."""
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def picture(data: list[Row], inputs: Row) -> Figure:
    """Return mean accuracy against rounds, the range over seeds as a band."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    ax = figure.subplots()
    rounds = sorted({int(row["round"]) for row in data if row["round"] <= inputs["rounds"]})
    for candidate in candidates(inputs):
        seeds = [[100 * a for a in accuracies(data, candidate, r, "accuracy")] for r in rounds]
        ax.plot(rounds, [statistics.mean(values) for values in seeds], label=str(candidate))
        ax.fill_between(rounds, [min(v) for v in seeds], [max(v) for v in seeds], alpha=0.15)
    ax.set_xlabel("round")
    ax.set_ylabel("validation accuracy of P·M (%)")
    ax.set_ylim(bottom=60)
    ax.set_title(f"{inputs['task']}: mean and range over {len(inputs['seeds'])} seeds")
    ax.grid(alpha=0.3)
    ax.legend(loc="lower right", fontsize="small")
    return figure


if __name__ == "__main__":
    main()
