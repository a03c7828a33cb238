"""How unequal validation and test are under each kind of split, from the tables alone.

    python experiments/validation_split/study.py    # prints results.md

An image's difficulty is the share of the models of ``difficulty.csv`` that classify it wrongly. A
panel is as hard as its mean difficulty. The split of digits is the first stratified one whose two
panels are both as hard as all 1,797 images, to within one image of 350, at every stage of training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from floss_sim.tasks.fixed_split import RANDOM, STRATIFIED, split_rows

HERE = Path(__file__).parent
PANEL, LARGE = 350, 500  # images
SEEDS = 2000  # splits of each kind
SPLITS = ((RANDOM, 0), (STRATIFIED, 0), (STRATIFIED, 383))
# First image of each preprinted form: the same 130 digits in the same order, of which 23 are lost.
FORMS = (0, 130, 256, 386, 516, 646, 776, 906, 1029, 1157, 1287, 1415, 1545, 1667)
HALF_TRAINED = (0.6, 0.95)  # validation accuracies of the models that trained.csv is averaged over
CLASSIFIERS = {
    "nearest neighbour": KNeighborsClassifier(1),
    "linear discriminant": LinearDiscriminantAnalysis(),
    "logistic regression": LogisticRegression(max_iter=1000),
    "support vectors": SVC(),
}
Rows = NDArray[np.int64]
Values = NDArray[np.float64]


def main() -> None:
    """Write and print the results."""
    table = pd.read_csv(HERE / "difficulty.csv")
    labels, stages = table["class"].to_numpy(), difficulties(table)
    form = np.searchsorted(FORMS, np.arange(len(labels)), side="right") - 1
    parts = [
        "# Validation and test panels of digits\n",
        f"{first_equal(labels, stages)} is the first equal stratified split. Made by study.py.\n",
        "## Kinds of split: standard deviation of validation minus test (points of error)\n",
        kinds_text(labels, stages),
        "## Three splits: how much harder each panel is than all images (points of error)\n",
        panels_text(labels, stages),
        "## Difficulty explained by class, form, and both (adjusted share of the variance, %)\n",
        explained_text(labels, form, stages),
        "## Other classifiers, cross-validated: validation minus test (points of error)\n",
        others_text(labels),
        "## Trained runs: validation minus test (points of accuracy)\n",
        trained_text(pd.read_csv(HERE / "trained.csv")),
    ]
    text = "\n".join(parts)
    (HERE / "results.md").write_text(text, encoding="utf-8")
    print(text)


def difficulties(table: pd.DataFrame) -> dict[str, Values]:
    """Return the difficulty of every image, 0 to 100, by stage of training."""
    names = [name.removeprefix("models ") for name in table if name.startswith("models ")]
    return {n: (100 * table[f"errors {n}"] / table[f"models {n}"]).to_numpy() for n in names}


def panels(labels: Rows, kind: str, seed: int, size: int = PANEL) -> tuple[Rows, Rows]:
    """Return validation and test rows; the kind ``class`` has the data's order shuffled."""
    if kind != "class":
        return split_rows(labels, size, size, kind, seed)[1:]
    order = np.random.default_rng([seed, 1]).permutation(labels.size)
    _, checked, tested = split_rows(labels[order], size, size, STRATIFIED, seed)
    return order[checked], order[tested]


def first_equal(labels: Rows, stages: Mapping[str, Values]) -> str:
    """Return the first stratified split whose panels are within one image of all images."""
    seed = 0
    while True:
        parts = panels(labels, STRATIFIED, seed)
        gaps = [d[part].mean() - d.mean() for d in stages.values() for part in parts]
        if max(map(abs, gaps)) <= 100 / PANEL:
            return f"split_seed {seed}"
        seed += 1


def kinds_text(labels: Rows, stages: Mapping[str, Values]) -> str:
    """Return the spread of the difference over seeds, for each kind and size."""
    rows = []
    for name, kind, size in (
        ("random", RANDOM, PANEL),
        ("stratified by class", "class", PANEL),
        ("stratified by class and order", STRATIFIED, PANEL),
        ("random", RANDOM, LARGE),
        ("stratified by class and order", STRATIFIED, LARGE),
    ):
        splits = [panels(labels, kind, seed, size) for seed in range(SEEDS)]
        spreads = [np.std([d[a].mean() - d[b].mean() for a, b in splits]) for d in stages.values()]
        rows.append([f"{name}, {size} and {size}", *(f"{s:.2f}" for s in spreads)])
    return markdown(["split", *(f"models of {name} %" for name in stages)], rows)


def panels_text(labels: Rows, stages: Mapping[str, Values]) -> str:
    """Return how much harder each panel of three splits is than all images."""
    rows = []
    for kind, seed in SPLITS:
        for name, part in zip(("validation", "test"), panels(labels, kind, seed), strict=True):
            gaps = [f"{d[part].mean() - d.mean():+.2f}" for d in stages.values()]
            rows.append([f"{kind}, seed {seed}: {name}", *gaps])
    return markdown(["panel", *(f"models of {name} %" for name in stages)], rows)


def explained_text(labels: Rows, form: Rows, stages: Mapping[str, Values]) -> str:
    """Return which share of the variance of difficulty groups of images explain."""
    groups = {"class": labels, "form": form, "class and form": 100 * labels + form}
    rows = [
        [name, *(f"{100 * explained(d, group):.0f}" for d in stages.values())]
        for name, group in groups.items()
    ]
    return markdown(["groups", *(f"models of {name} %" for name in stages)], rows)


def explained(values: Values, group: Rows) -> float:
    """Return the adjusted coefficient of determination of the groups' means."""
    means = pd.Series(values).groupby(group).transform("mean").to_numpy()
    left = np.square(values - means).sum() / (values.size - np.unique(group).size)
    return float(1 - left / values.var(ddof=1))


def others_text(labels: Rows) -> str:
    """Return the difference under each split for classifiers of raw pixels."""
    pixels, folds = load_digits().data, StratifiedKFold(10, shuffle=True, random_state=0)
    rows = []
    for name, classifier in CLASSIFIERS.items():
        wrong = 100.0 * (cross_val_predict(classifier, pixels, labels, cv=folds) != labels)
        gaps = [
            wrong[a].mean() - wrong[b].mean()
            for a, b in (panels(labels, kind, seed) for kind, seed in SPLITS)
        ]
        rows.append([f"{name} ({wrong.mean():.1f} % wrong)", *(f"{gap:+.2f}" for gap in gaps)])
    return markdown(["classifier", *(f"{kind}, seed {seed}" for kind, seed in SPLITS)], rows)


def trained_text(table: pd.DataFrame) -> str:
    """Return mean and range over half-trained runs of the difference in accuracy."""
    low, high = HALF_TRAINED
    table = table[table["validation"].between(low, high)]
    table = table.assign(gap=100 * (table["validation"] - table["test"]))
    return markdown(
        ["split", "runs", "mean", "lowest", "highest", "above 0"], list(_trained_rows(table))
    )


def _trained_rows(table: pd.DataFrame) -> Iterator[list[str]]:
    for kind, seed in SPLITS:
        own = table[(table["split"] == kind) & (table["split_seed"] == seed)]
        runs = own.groupby(["configuration", "seed"])["gap"].mean()
        yield [
            f"{kind}, seed {seed}",
            str(runs.size),
            f"{runs.mean():+.2f}",
            f"{runs.min():+.2f}",
            f"{runs.max():+.2f}",
            str(int((runs > 0).sum())),
        ]


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


if __name__ == "__main__":
    main()
