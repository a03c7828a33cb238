"""A tiny task on disk: 60 examples, a backbone's config, and weights that nothing reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TASK = """\
name = "tiny"
kind = "image-classification"

[data]
dataset = "data.npz"
classes = 3
validation = 10
test = 5

[backbone]
model = "backbone"

[partition]
clients = 9
law = "iid"

[lora]
targets = ["q", "v"]
alpha = 16

[client]
learning_rate = 0.05
momentum = 0.9
batch_size = 16
epochs = 2

[server]
optimizer = "fedadam"
learning_rate = 5e-3
cohort = 4
"""
CONFIG = {"model_type": "vit", "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2}
WriteTask = Callable[..., Path]


@pytest.fixture
def write_task(tmp_path: Path) -> WriteTask:
    """Return a function that writes the task's folder and returns the path of its TOML file.

    ``old`` is replaced by ``new`` in the file, ``arrays`` and ``config`` replace the data and the
    backbone's config, and ``folder`` names another folder.
    """

    def write(
        old: str = "",
        new: str = "",
        *,
        arrays: dict[str, Any] | None = None,
        config: Any = CONFIG,
        weights: bytes = b"weights",
        folder: str = "task",
    ) -> Path:
        assert old in TASK
        home = tmp_path / folder
        (home / "backbone").mkdir(parents=True, exist_ok=True)
        (home / "backbone" / "config.json").write_text(json.dumps(config), encoding="utf-8")
        (home / "backbone" / "model.safetensors").write_bytes(weights)
        np.savez(home / "data.npz", **(tiny_arrays() if arrays is None else arrays))
        path = home / "tiny.toml"
        path.write_text(TASK.replace(old, new, 1) if old else TASK, encoding="utf-8")
        return path

    return write


def tiny_arrays() -> dict[str, Any]:
    """Return x (60, 1, 2, 2) whose values are all different, and y (60,)."""
    return {"x": np.arange(240.0).reshape(60, 1, 2, 2), "y": np.arange(60) % 3}
