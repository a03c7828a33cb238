"""Measure how long the layout of each packaged backbone takes, by each of the three ways.

    python experiments/backbones/measure.py

Prints a table for README.md: processor time of the model library with PEFT (imported already), of
the packaged table, and of the cached answer. All three must give the same tensors. Adapters are
DoRA of rank 8 on all linear modules.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from typing import TypeVar

from floss_sim.families.adapter_settings import AdapterSettings
from floss_sim.families.family import NEXT_TOKEN
from floss_sim.families.packaged import packaged_backbone, packaged_backbones
from floss_sim.families.trained_model import model_of_config, model_of_table
from floss_sim.families.trained_tensors import TrainedModel

SETTINGS = AdapterSettings(rank=8, targets=("all-linear",), dora=True)
COLUMNS = ("backbone", "family", "parameters", "trained", "tensors", "library, s", "packaged, ms",
           "cached, ms")  # fmt: skip
REPEATS = 5  # of the fast ways; the fastest counts
ValueT = TypeVar("ValueT")


def main() -> None:
    """Print the time of the library's import, and one row for each packaged backbone."""
    _, import_s = timed(lambda: import_module("floss_sim.families.from_library"))
    print(f"The import of torch, transformers and PEFT takes {import_s:.1f} s.\n")
    print("| " + " | ".join(COLUMNS) + " |")
    print("|---" * len(COLUMNS) + "|")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FLOSS_SIM_LAYOUTS"] = folder
        for name in packaged_backbones():
            print(row(name), flush=True)


def row(name: str) -> str:
    """Return the row of a backbone."""
    backbone = packaged_backbone(name)
    kind = backbone.kinds[0]
    labels = 0 if kind == NEXT_TOKEN else 2

    def by_config() -> TrainedModel:
        return model_of_config(backbone.config, kind, labels, SETTINGS)

    library, library_s = timed(by_config)
    cached, cached_s = fastest(by_config)
    table, table_s = fastest(lambda: model_of_table(backbone.tables[kind], labels, SETTINGS))
    if not set(library.tensors) == set(cached.tensors) == set(table.tensors):
        raise SystemExit(f"{name}: the three ways differ")
    return (
        f"| {name} | {table.model_type} | {table.parameters:,} | {table.entries:,} "
        f"| {len(table.tensors)} | {library_s:.2f} | {1e3 * table_s:.1f} | {1e3 * cached_s:.1f} |"
    )


def fastest(ask: Callable[[], ValueT]) -> tuple[ValueT, float]:
    """Return an answer, and the shortest processor time of several calls in seconds."""
    found = [timed(ask) for _ in range(REPEATS)]
    return found[0][0], min(seconds for _, seconds in found)


def timed(ask: Callable[[], ValueT]) -> tuple[ValueT, float]:
    """Return an answer and the processor time that it took, in seconds."""
    begun_s = time.process_time()
    return ask(), time.process_time() - begun_s


if __name__ == "__main__":
    main()
