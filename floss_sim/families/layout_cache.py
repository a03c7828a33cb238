"""Cache of trained models: what the model library answered, as JSON by the hash of the question.

The question holds all that decides the answer: config, task kind, number of classes, settings, and
the versions of the libraries. A file that cannot be read is no answer, and is written again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from platformdirs import user_cache_dir

from floss_sim.errors import RecordError
from floss_sim.families.trained_tensors import TrainedModel, TrainedTensor
from floss_sim.files import write_atomically
from floss_sim.fingerprints import fingerprint

_SCHEMA = 1  # raised whenever the form of the files or the meaning of an answer changes
_PACKAGES = ("torch", "transformers", "peft")


def cache_folder() -> Path:
    """Return ``$FLOSS_SIM_LAYOUTS``, or a folder in the user cache."""
    chosen = os.environ.get("FLOSS_SIM_LAYOUTS")
    return Path(chosen).expanduser() if chosen else Path(user_cache_dir("floss-sim")) / "layouts"


def cache_key(question: Mapping[str, Any]) -> str:
    """Return the hash of a question and of the installed versions."""
    versions = {name: version(name) for name in _PACKAGES}
    return fingerprint({**question, "versions": versions, "schema": _SCHEMA})


def read_trained_model(key: str) -> TrainedModel | None:
    """Return the cached answer to a question; None if there is none that can be read."""
    try:
        content = json.loads((cache_folder() / f"{key}.json").read_text(encoding="utf-8"))
        return TrainedModel(
            str(content["model_type"]),
            int(content["parameters"]),
            tuple(str(path) for path in content["head"]),
            tuple(
                TrainedTensor(str(module), str(part), tuple(int(side) for side in shape))
                for module, part, shape in content["tensors"]
            ),
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_trained_model(key: str, answer: TrainedModel) -> None:
    """Write the answer to a question; a folder that cannot be written is left alone."""
    rows = [[tensor.module, tensor.part, tensor.shape] for tensor in answer.tensors]
    content = {**vars(answer), "tensors": rows}
    with suppress(OSError, RecordError):
        cache_folder().mkdir(parents=True, exist_ok=True)
        write_atomically(cache_folder() / f"{key}.json", json.dumps(content))
