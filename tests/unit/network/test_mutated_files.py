"""A slice of ``experiments/hostile_input/network_files.py``: nothing read wrongly, no traceback."""

from __future__ import annotations

import importlib
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from places import EXPERIMENTS

COUNT = 300
FOLDER = EXPERIMENTS / "hostile_input"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module("network_files")


@pytest.mark.parametrize("reader", ["csv trace", "mahimahi", "speed tests", "rows"])
def test_a_damaged_file_is_refused_or_read_rightly(script: ModuleType, reader: str, tmp_path: Path):
    made = script.mutants(reader, COUNT, random.Random(f"slice {reader}"))
    tally, problems = script.counts(script.outcome(mutant, tmp_path) for mutant in made)
    assert problems == []
    assert tally["refused"] > COUNT / 10
    assert tally["right"] > COUNT / 10
    assert tally.total() == COUNT


def test_the_second_readings_notice_what_is_wrong(script: ModuleType, tmp_path: Path):
    mutant = script.Mutant("mahimahi", "t", b"1\n", {"at_end": "repeat", "bin_s": 0.1})
    trace = mutant.read(_written(tmp_path, mutant.content))
    assert mutant.problem(trace) == ""
    assert mutant.problem(trace.with_factor(0.01)) != ""
    stretched = type(trace)((0.0,), (120e3,), 0.1, "repeat")  # as it was read once
    assert "period 0.1 s" in mutant.problem(stretched)


def _written(folder: Path, content: bytes) -> Path:
    path = folder / "t"
    path.write_bytes(content)
    return path


def test_a_worker_that_dies_or_hangs_is_replaced(script: ModuleType, monkeypatch):
    monkeypatch.setattr(script, "LIMIT_S", 0.5)
    reads = {
        "die": lambda *_: os._exit(3),
        "hang": lambda *_: time.sleep(9),
        "fail": lambda *_: 1 / 0,
        "fill": lambda *_: bytearray(1 << 40),
        "good": lambda *_: 1,
    }
    for name, read in reads.items():
        monkeypatch.setitem(script.READERS, name, (None, read, lambda *_: ""))
    worker = script.Worker()
    found = [worker.outcome(script.Mutant(name, "x", b""))[0] for name in reads]
    worker.stop()
    assert found == ["crashed", "hung", "crashed", "memory", "right"]
