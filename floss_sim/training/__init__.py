"""Public interface of real training; only this package imports torch, transformers and peft.

Importing it does not load these frameworks: ``open_learner``, ``open_side_by_side``,
``measure_on_test``, ``measure_own_on_test``, ``test_metrics``, ``export_adapter`` and
``replace_adapter`` load them when they are called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from floss_sim.training.device import DEVICES, resolve_device
from floss_sim.training.learner_choice import LEARNERS, SEQUENTIAL, choose_learner, learner_identity
from floss_sim.training.memory_bounds import MAX_RUNS
from floss_sim.training.model_card import training_facts

if TYPE_CHECKING:
    from floss_sim.protocol import OwnMetrics, Snapshot
    from floss_sim.records.on_test import ModelOnTest
    from floss_sim.runs.config import RunConfig
    from floss_sim.training.learners.torch_learner import TorchLearner
    from floss_sim.training.side_by_side.stepping import SideBySide

__all__ = [
    "DEVICES",
    "LEARNERS",
    "MAX_RUNS",
    "SEQUENTIAL",
    "choose_learner",
    "export_adapter",
    "learner_identity",
    "measure_on_test",
    "measure_own_on_test",
    "open_learner",
    "open_side_by_side",
    "replace_adapter",
    "resolve_device",
    "test_metrics",
    "training_facts",
]


def open_learner(
    config: RunConfig,
    device: str = "auto",
    threads: int = 1,
    learner: str = "bank",
    *,
    beside: SideBySide | None = None,
    diagnose: bool = True,
) -> TorchLearner:
    """Load the backbone and the data; return the run's learner, at version 0.

    Args:
        config: The run's configuration.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        threads: Number of torch threads in this process.
        learner: ``"bank"`` or ``"sequential"``, see :func:`choose_learner`.
        beside: The loop from :func:`open_side_by_side`, if it steps this run beside others; None:
            the run trains alone.
        diagnose: Whether evaluation also measures the server's dense vector P, which doubles the
            time of an evaluation.

    Raises:
        ConfigError: The device or the learner is unknown, or the device is not available.
        TaskError: The backbone or the data cannot be loaded.

    Example:
        >>> from floss_sim import RunConfig, dense, load_profile, load_task, open_learner, run
        >>> config = RunConfig.of(load_task("digits"), dense(), rank=1)
        >>> record = run(config, load_profile("lte"), open_learner(config, "cpu"), rounds=1)
        >>> record.rounds["reports"].to_pylist()
        [5]
    """
    from floss_sim.training.learners.build import build_learner

    place = resolve_device(device)
    opened = build_learner(config, choose_learner(config, learner, place), place, threads, beside)
    opened.diagnose = diagnose
    return opened


def open_side_by_side(device: str) -> SideBySide:
    """Return the loop of this process that trains several runs on a device in shared passes.

    Args:
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``.
    """
    from floss_sim.training.learners import build

    return build.open_side_by_side(device)


def test_metrics(config: RunConfig, model: bytes, device: str = "auto") -> dict[str, float]:
    """Return ``accuracy`` (0 to 1) and ``loss`` (nats) of a model message on the test split.

    Args:
        config: The run's configuration.
        model: The encoded model message.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises:
        PayloadError: The message does not match the run's layout.
    """
    (made,) = measure_on_test(config, [model], device)
    return {"accuracy": made.accuracy, "loss": made.loss}


def measure_on_test(
    config: RunConfig, models: Sequence[bytes], device: str = "auto"
) -> list[ModelOnTest]:
    """Return accuracy, loss and single predictions of model messages on the test split.

    Args:
        config: The run's configuration.
        models: The encoded model messages.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises:
        PayloadError: A message does not match the run's layout.
    """
    from floss_sim.training import export

    return export.measure_on_test(config, models, resolve_device(device))


def measure_own_on_test(config: RunConfig, snapshot: Snapshot, device: str = "auto") -> OwnMetrics:
    """Return the means over clients of each one's own model on the test split.

    Args:
        config: The run's configuration.
        snapshot: The run's state, with that of the clients.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises:
        RecordError: The snapshot is that of another run.
    """
    learner = open_learner(config, device)
    learner.restore(snapshot)
    return learner.own_metrics("test")


def export_adapter(
    config: RunConfig, model: bytes, folder: Path, facts: Mapping[str, str] | None = None
) -> None:
    """Write a model message as a folder of safetensors, with a model card.

    With adapters (``lora``, ``ffa``) the folder can be loaded by ``PeftModel.from_pretrained``.
    Otherwise it holds the whole model, for ``AutoModelFor...from_pretrained``.

    Args:
        config: The run's configuration.
        model: The encoded model message.
        folder: The folder to write; other files in it stay.
        facts: Rows of the card's table, such as :func:`training_facts` and results.

    Raises:
        PayloadError: The message does not match the run's layout.
    """
    from floss_sim.training import export

    export.write_adapter(config, model, folder, facts or {})


def replace_adapter(
    config: RunConfig, model: bytes, folder: Path, facts: Mapping[str, str] | None = None
) -> None:
    """Write a model message as :func:`export_adapter` does, or replace an earlier export.

    Files in the folder that no export has written stay.

    Raises:
        PayloadError: The message does not match the run's layout.
        RecordError: The folder cannot be written, or is a link.
    """
    from floss_sim.training import export

    export.replace_adapter(config, model, folder, facts or {})
