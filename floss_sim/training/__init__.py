"""Real training: torch, transformers and peft live in this room and in no other.

The last three doors load the frameworks when they are opened, not when the room is imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from floss_sim.training.device import DEVICES, resolve_device
from floss_sim.training.learner_choice import LEARNERS, SEQUENTIAL, choose_learner, learner_identity
from floss_sim.training.side_by_side.limits import limits_of

if TYPE_CHECKING:
    from floss_sim.runs.config import RunConfig
    from floss_sim.training.learners.torch_learner import TorchLearner
    from floss_sim.training.side_by_side.scheduler import PassScheduler

__all__ = [
    "DEVICES",
    "LEARNERS",
    "SEQUENTIAL",
    "choose_learner",
    "export_adapter",
    "join_side_by_side",
    "learner_identity",
    "limits_of",
    "open_learner",
    "resolve_device",
    "test_metrics",
]


def open_learner(
    config: RunConfig,
    device: str = "auto",
    threads: int = 1,
    learner: str = "bank",
    grid: PassScheduler | None = None,
    *,
    diagnose: bool = True,
) -> TorchLearner:
    """Load backbone and data, and return the learner that really trains, at version 0.

    Args:
        config: The run.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        threads: Threads of torch in this process.
        learner: As of :func:`choose_learner`.
        grid: Where the run trains beside others, as :func:`join_side_by_side` yields it.
        diagnose: Whether evaluation measures the server's dense P, too; it takes twice as long.

    Raises:
        ConfigError: The device or the learner is unknown, or the device is absent.
        TaskError: The backbone or the data cannot be loaded.
    """
    from floss_sim.training.learners.build import build_learner

    place = resolve_device(device)
    opened = build_learner(config, choose_learner(config, learner, place), place, threads, grid)
    opened.diagnose = diagnose
    return opened


@contextmanager
def join_side_by_side(device: str) -> Iterator[PassScheduler]:
    """Yield the process's grid on a device: a run trains there beside those of other threads.

    One thread at a time goes on; what else a run may have to wait for, it waits for outside.
    """
    from floss_sim.training.side_by_side.scheduler import device_scheduler

    grid = device_scheduler(device)
    with grid.membership():
        yield grid


def test_metrics(config: RunConfig, model: bytes, device: str = "auto") -> dict[str, float]:
    """Return ``accuracy`` (0 to 1) and ``loss`` (nats) of a model message on the test split.

    Raises:
        PayloadError: The message is not one of the run's layout.
    """
    from floss_sim.training import export

    return export.measure_on_test(config, model, resolve_device(device))


def export_adapter(config: RunConfig, model: bytes, folder: Path) -> None:
    """Write a model message as a folder of safetensors.

    With adapters (``lora``, ``ffa``) it is what ``PeftModel.from_pretrained`` loads; otherwise
    the whole model, for ``AutoModelFor...from_pretrained``.

    Raises:
        PayloadError: The message is not one of the run's layout.
    """
    from floss_sim.training import export

    export.write_adapter(config, model, folder)
