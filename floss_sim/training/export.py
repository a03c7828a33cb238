"""Test metrics and export of a trained model."""

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
    """Return ``accuracy`` (0 to 1) and ``loss`` (nats) of a model message on the test split.

    Args:
        config: The run's configuration.
        blob: The encoded model message.
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises:
        PayloadError: The message does not match the run's layout.
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

    With adapters (``lora``, ``ffa``) the folder can be loaded by ``PeftModel.from_pretrained``; it
    includes A even if A was frozen. Otherwise it holds the whole model, for
    ``AutoModelFor...from_pretrained``.

    Raises:
        PayloadError: The message does not match the run's layout.
    """
    vector_N, _ = decode(config.layout, blob)
    flat = build_flat_model(config, torch.device("cpu"))
    flat.load(flat.base + vector_N)
    flat.model.save_pretrained(str(folder))
