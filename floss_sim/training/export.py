"""What is done with a finished model: test metrics, and a folder to load it from."""

from __future__ import annotations

from pathlib import Path

import torch

from floss_sim.runs.config import RunConfig
from floss_sim.training.determinism import make_deterministic
from floss_sim.training.device_data import device_tensors
from floss_sim.training.evaluation import measure
from floss_sim.training.models.flat_model import build_flat_model
from floss_sim.wire import decode


def measure_on_test(config: RunConfig, blob: bytes, device: str) -> dict[str, float]:
    """Return ``accuracy`` (0 to 1) and ``loss`` on the test split of a model message.

    Raises:
        PayloadError: The message is not one of the run's layout.
    """
    torch.set_num_threads(1)
    place = torch.device(device)
    make_deterministic(place)
    vector_N, _ = decode(config.layout, blob)
    split = device_tensors(config.task.content.test, place)
    accuracy, loss = measure(build_flat_model(config, place), vector_N, *split)
    return {"accuracy": accuracy, "loss": loss}


def write_adapter(config: RunConfig, blob: bytes, folder: Path) -> None:
    """Write a model message as a folder of safetensors.

    With adapters (``lora``, ``ffa``) it is what ``PeftModel.from_pretrained`` loads, A included;
    otherwise the whole model, for ``AutoModelFor...from_pretrained``.

    Raises:
        PayloadError: The message is not one of the run's layout.
    """
    vector_N, _ = decode(config.layout, blob)
    flat = build_flat_model(config, torch.device("cpu"))
    flat.load(flat.base + vector_N)
    flat.model.save_pretrained(str(folder))
