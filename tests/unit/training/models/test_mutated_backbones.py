"""A slice of ``experiments/hostile_input/safetensors_files.py``: nothing wrong, no traceback."""

from __future__ import annotations

import importlib
import struct
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from places import EXPERIMENTS

COUNT = 195


@pytest.fixture(scope="module")
def script() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXPERIMENTS / "hostile_input"))
        return importlib.import_module("safetensors_files")


@pytest.fixture(scope="module")
def home(script: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders of all families."""
    folder = tmp_path_factory.mktemp("mutated")
    script.write_folders(folder)
    return folder


def test_undamaged_folders_are_read_rightly(script: ModuleType, home: Path):
    for family, names in script.FILES.items():
        for name in names:
            assert script._read(home / family, name) == ("right", ""), (family, name)


def test_a_damaged_backbone_is_refused_or_read_rightly(script: ModuleType, home: Path):
    found: Counter[str] = Counter()
    for mutant in script.mutants(COUNT):
        result, said = script.outcome(mutant, home, 3)
        assert result in ("refused", "right"), (mutant, result, said)
        found[result] += 1
    assert found["refused"] > COUNT / 2
    assert found["right"] > COUNT / 20


def test_the_second_reading_notices_other_weights(script: ModuleType, home: Path):
    task = script.load_task(str(home / "bert" / "task.toml"))
    config = script.RunConfig.of(task, script.dense(), rank=2)
    model = script.build_flat_model(config, script.CPU).model
    folder = home / "bert" / "backbone"
    assert script._weights_problem(model, folder) == ""
    whole = (folder / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    changed = whole[: 8 + length] + b"\0\0\x80\x3f" + whole[12 + length :]
    (home / "model.safetensors").write_bytes(changed)  # the model may be a view of its own file
    assert "is not among the model's parameters" in script._weights_problem(model, home)
