"""Count operations and measure the memory of local steps, beside what floss-sim predicts.

    python experiments/local_steps/measure.py

Writes operations.csv and memory.csv: the cases of the tests, and MiniLM with the batches that tests
are too short for. Takes a minute of one core.
"""

from __future__ import annotations

import csv
import importlib.util
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).parent
TESTS = HERE.parents[1] / "tests"
sys.path.insert(0, str(TESTS / "support"))


def main() -> None:
    """Write both tables."""
    operations, memory = (
        _module(TESTS / "unit" / path)
        for path in ("families/test_operations.py", "analysis/test_client_memory.py")
    )
    _write("operations.csv", _operation_rows(operations))
    _write("memory.csv", _memory_rows(memory))


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} cannot be imported")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def _operation_rows(tests: ModuleType) -> Iterable[dict[str, Any]]:
    for name, case in tests.CASES.items():
        made, (forward, backward) = tests.counted(case), tests.measured(case)
        predicted = made.of_step(case.batch)
        yield {
            "model": name,
            "kind": case.kind,
            "torch_forward": forward,
            "torch_backward": backward,
            "predicted": round(predicted),
            "error_percent": f"{100 * (predicted / (forward + backward) - 1):+.2f}",
        }


def _memory_rows(tests: ModuleType) -> Iterable[dict[str, Any]]:
    cases = dict(tests.CASES)
    for batch, tokens in ((16, 128), (8, 256)):
        name = f"minilm, batch {batch}, {tokens} tokens"
        cases[name] = replace(cases["minilm"], batch=batch, tokens=tokens)
    plain = [(name, case, False) for name, case in cases.items()]
    again = [(f"{name}, checkpointing", cases[name], True) for name in tests.CHECKPOINTED]
    for name, case, checkpointing in (*plain, *again):
        made = tests.estimated(case, checkpointing=checkpointing)
        peak = tests.peak_of_step(case, checkpointing=checkpointing)
        yield {
            "model": name,
            "weights": peak.weights,
            "gradients_and_momentum": peak.held,
            "measured_activations": peak.activations,
            "estimated_activations": made.activations,
            "measured_peak": peak.total,
            "estimated_peak": made.total,
            "error_percent": f"{100 * (made.total / peak.total - 1):+.1f}",
        }


def _write(name: str, rows: Iterable[Mapping[str, Any]]) -> None:
    made = list(rows)
    with (HERE / name).open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(made[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(made)
    for row in made:
        print(name, row["model"], row["error_percent"], "%")


if __name__ == "__main__":
    main()
