"""What a round costs as its cohort grows: scale.csv and scale.png.

python experiments/scale/measure.py
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from statistics import median

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent
COHORTS = (10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
WORK = 30_000  # clients in a measurement, by which small rounds are repeated
REPETITIONS = 3
COLUMNS = (
    "network", "cohort", "rounds", "repetition", "cpu_s", "seconds", "peak_mb", "events", "moves",
)  # fmt: skip
NETWORKS = {"mobile": str(HERE / "mobile.toml"), "classes": str(HERE / "classes.toml")}
TITLES = {"mobile": "every client another link", "classes": "four classes"}


def measure(path: Path) -> None:
    """Append a row for each run that is not there yet, each in a process of its own.

    Repetitions are interleaved.
    """
    done = {(r["network"], r["cohort"], r["repetition"]) for r in read(path)}
    for repetition in range(REPETITIONS):
        for network, name in NETWORKS.items():
            for cohort in COHORTS:
                if (network, str(cohort), str(repetition)) not in done:
                    rounds = max(1, WORK // cohort)
                    found = run(fleet=cohort, cohort=cohort, rounds=rounds, network=name)
                    said = {"network": network, "cohort": cohort, "rounds": rounds}
                    append(path, {**said, "repetition": repetition, **found})


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of the file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def append(path: Path, row: dict[str, object]) -> None:
    """Write one more row."""
    begins = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        if begins:
            writer.writeheader()
        writer.writerow(row)


def run(**said: object) -> dict[str, float]:
    """Return what a case of ``case.py`` measures."""
    options = [part for key, value in said.items() for part in (f"--{key}", str(value))]
    command = [sys.executable, str(HERE / "case.py"), *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    found: dict[str, float] = json.loads(done.stdout)
    return found


def slope(cohorts: np.ndarray, seconds: np.ndarray) -> tuple[float, float]:
    """Return the exponent b of ``seconds = a cohort^b`` by least squares in logarithms, and a."""
    b, log_a = np.polyfit(np.log(cohorts), np.log(seconds), 1)
    return float(b), float(np.exp(log_a))


def draw(rows: list[dict[str, str]]) -> None:
    """Draw processor seconds of a round against its cohort, medians over the repetitions."""
    figure, axes = plt.subplots(figsize=(7, 4.6), layout="constrained")
    cohorts = np.array(COHORTS, float)
    for (network, title), marker in zip(TITLES.items(), "os", strict=True):
        seconds = np.array([_median(rows, network, cohort) for cohort in COHORTS])
        b, a = slope(cohorts, seconds)
        (line,) = axes.plot(cohorts, seconds, marker, label=f"{title}: slope {b:.2f}")
        axes.plot(cohorts, a * cohorts**b, color=line.get_color(), linewidth=1)
        print(f"{network}: seconds = {a:.2e} n^{b:.3f}")
    n_log_n = cohorts * np.log(cohorts)
    first = _median(rows, "mobile", COHORTS[0])
    axes.plot(cohorts, first * n_log_n / n_log_n[0], "k:", linewidth=1, label="n log n")
    axes.set(xscale="log", yscale="log", xlabel="clients in the round (log scale)",
             ylabel="processor seconds for a round (log scale)")  # fmt: skip
    axes.set_title("A size-only round on a shared server, records included")
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(HERE / "scale.png", dpi=130)


def _median(rows: list[dict[str, str]], network: str, cohort: int) -> float:
    chosen = [r for r in rows if r["network"] == network and int(r["cohort"]) == cohort]
    return median(float(row["cpu_s"]) / int(row["rounds"]) for row in chosen)


def main() -> None:
    """Measure what has not been measured, then draw."""
    path = HERE / "scale.csv"
    measure(path)
    draw(read(path))


if __name__ == "__main__":
    main()
