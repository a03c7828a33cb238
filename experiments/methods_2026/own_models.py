"""Clients' own models: accuracy on data like each client's own, within a budget.

    python experiments/methods_2026/own_models.py experiments/methods_2026/digits/own_models.toml

Each configuration tries the same server rates with a seed of its own and takes the best by the mean
accuracy of the clients' own models on validation examples. The reported seeds then train with that
rate for the rounds that the budget affords. Writes ``own_models.csv`` and ``own_models.md`` beside
the inputs; finished runs are not trained again.
"""

from __future__ import annotations

import argparse
import tomllib
from itertools import accumulate
from pathlib import Path
from typing import Any

import pandas as pd
from study import Study

from floss_sim import SavedRun, load_profile, train
from floss_sim.analysis.last_part import last_part

RUNS = Path("runs/methods_2026")
EVAL_EVERY = 5
Row = dict[str, Any]


def main() -> None:
    """Tune, train, and write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("inputs", type=Path)
    path = parser.parse_args().inputs
    study = Study(tomllib.loads(path.read_text(encoding="utf-8")), path.parent)
    limit = study.inputs["budget"] * dense_round_bytes(study)
    rows = [row for one in study.inputs["configuration"] for row in measured(study, one, limit)]
    table = pd.DataFrame(rows)
    table.to_csv(path.with_suffix(".csv"), index=False)
    path.with_suffix(".md").write_text(text_of(table), encoding="utf-8")
    print(text_of(table))


def dense_round_bytes(study: Study) -> float:
    """Return the bytes of a round of the reference, both ways."""
    one = study.reference
    run = trained(study, one, study.rates(one)[0], study.inputs["tuning"]["seed"], EVAL_EVERY)
    return spent(run)[EVAL_EVERY - 1] / EVAL_EVERY


def measured(study: Study, one: Row, limit: float) -> list[Row]:
    """Return the rows of a configuration: its rate is chosen, then each seed is measured."""
    seed, affordable = study.inputs["tuning"]["seed"], {}
    scores = {}
    for rate in study.rates(one):
        probe = spent(trained(study, one, rate, seed, EVAL_EVERY))
        most = int(limit / (probe[EVAL_EVERY - 1] / EVAL_EVERY)) // EVAL_EVERY * EVAL_EVERY
        affordable[rate] = min(most, study.inputs["rounds"])
        scores[rate] = own_accuracy(trained(study, one, rate, seed, affordable[rate]))
    best = max(scores, key=lambda rate: scores[rate])
    rows = []
    for number in study.inputs["seeds"]:
        run = trained(study, one, best, number, affordable[best])
        rows.append({
            "configuration": one["label"], "seed": number, "rate": best,
            "rounds": affordable[best], "bytes": spent(run)[-1],
            "own_validation": own_accuracy(run), "own_test": run.own_test,
            "test": run.test_accuracy,
        })  # fmt: skip
    return rows


def trained(study: Study, one: Row, rate: float, seed: int, rounds: int) -> SavedRun:
    """Return the saved run of a configuration, trained for some rounds; longer ones stay."""
    name = f"{one['label']}-{rate:g}-{seed}".replace("/", "_").replace(" ", "_")
    print(f"{one['label']}, rate {rate:g}, seed {seed}: {rounds} rounds", flush=True)
    return train(
        study.config(one, rate, seed), load_profile("paper-200-20"), rounds=rounds,
        out=RUNS / name, eval_every=EVAL_EVERY, own_accuracy=True,
    )  # fmt: skip


def own_accuracy(run: SavedRun) -> float:
    """Return the mean accuracy of the clients' own models over the last part of the rounds."""
    rows = run.record.evaluated().to_pylist()
    part = last_part([row["round"] for row in rows], rows[-1]["round"])
    values = [row["own_accuracy"] for row in rows if row["round"] in part]
    return float(sum(values) / len(values))


def spent(run: SavedRun) -> list[int]:
    """Return the bytes of rounds 1, 2, ... together, both ways."""
    ways = (run.record.rounds[f"{way}_bytes"].to_pylist() for way in ("down", "up"))
    return list(accumulate(d + u for d, u in zip(*ways, strict=True)))


def text_of(table: pd.DataFrame) -> str:
    """Return the table of means over seeds, with the span of the seeds."""
    lines = [
        "| configuration | rate | rounds | bytes | own models, own data, test | one model, test |",
        "|---|---|---|---|---|---|",
    ]
    for label, rows in table.groupby("configuration", sort=False):
        own, one = 100 * rows.own_test, 100 * rows.test
        lines.append(
            f"| {label} | {rows.rate.iloc[0]:g} | {rows['rounds'].iloc[0]} | "
            f"{rows.bytes.mean() / 1e6:.2f} MB | "
            f"{own.mean():.1f} ({own.min():.1f} to {own.max():.1f}) % | "
            f"{one.mean():.1f} ({one.min():.1f} to {one.max():.1f}) % |"
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
