"""Memory of a run's clients, estimated, and whether this machine has as much."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from floss_sim.analysis.client_memory import ClientMemory, client_memory
from floss_sim.errors import ConfigError
from floss_sim.runs.client_work import example_tokens
from floss_sim.runs.config import RunConfig
from floss_sim.units import format_bytes

_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of Linux control groups, version 2


def run_memory(config: RunConfig) -> ClientMemory:
    """Return the estimated peak memory of a client that trains its largest batch.

    Args:
        config: The run.

    Raises:
        TaskError: The data cannot be read.
        LayoutError: The adapters do not fit the backbone.

    Example:
        >>> from floss_sim import RunConfig, dense, load_task
        >>> from floss_sim.analysis.run_memory import run_memory
        >>> made = run_memory(RunConfig.of(load_task("digits"), dense(), rank=4))
        >>> made.weights > made.trained > 0
        True
    """
    table, trained = config.client_model
    client, largest = config.client, max(len(part) for part in config.clients)
    return client_memory(
        table,
        config.task.backbone_config,
        trained,
        min(client.batch_size, largest),
        example_tokens(config.task),
        client.precision,
        checkpointing=client.gradient_checkpointing,
        dropout=config.task.lora.dropout > 0,
    )


def machine_bytes() -> int | None:
    """Return the bytes of memory that this machine, or its container, has; None if unknown."""
    found = []
    with suppress(AttributeError, ValueError, OSError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with suppress(ValueError, OSError):  # "max" where the container has no limit
        found.append(int(_CONTAINER_LIMIT.read_text(encoding="ascii")))
    return min(found, default=None)


def check_memory(config: RunConfig, device: str) -> None:
    """Check that this machine's memory holds the training of a client.

    Args:
        config: The run.
        device: Kind of the device that trains; only ``"cpu"`` uses the machine's memory.

    Raises:
        ConfigError: One client needs more; the message states the estimate.
    """
    has = machine_bytes()
    if device != "cpu" or has is None:
        return
    needs = run_memory(config)
    if needs.total <= has:
        return
    batch, tokens = config.client.batch_size, example_tokens(config.task)
    raise ConfigError(
        f"training a client of task {config.task.name!r} takes about {format_bytes(needs.total)} "
        f"(weights {format_bytes(needs.weights)}, activations {format_bytes(needs.activations)} of "
        f"{batch} examples of {tokens} tokens), more than this machine's {format_bytes(has)} of "
        "memory; give a smaller backbone, a smaller batch, shorter texts, or "
        "client.gradient_checkpointing = true"
    )
