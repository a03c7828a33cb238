"""Engines of clusters, by the text that names them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from floss_sim.errors import ConfigError
from planner.cluster.engine import Engine
from planner.cluster.engines.own_executor import open_own_executor


@contextmanager
def open_engine(spec: str, workers: int | None = None) -> Iterator[Engine]:
    """Yield the engine that a text names; an engine that was started for it ends with the block.

    Args:
        spec: ``module:function``, a function without arguments that returns an executor.
        workers: Number of calls that run at once; None: as many as the engine tells.

    Raises:
        ConfigError: The text names no engine, or the engine cannot be opened.
    """
    if ":" not in spec:
        raise ConfigError(f"unknown executor {spec!r}; valid: local, module:function")
    with open_own_executor(spec, workers) as engine:
        yield engine
