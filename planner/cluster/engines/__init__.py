"""Engines of clusters, by the text that names them.

Each engine is a module, which is imported when it is asked for, and the only one that imports its
library. A library that is missing, an address that does not answer, another version, and fewer
devices than asked are each refused in one line, before anything is sent.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from floss_sim.errors import ConfigError
from planner.cluster.engine import Engine

KINDS = ("dask:tcp://HOST:PORT", "ray:auto", "ray:HOST:PORT", "slurm:key=value,...", "parsl:FILE",
         "module:function")  # fmt: skip


def open_engine(
    spec: str, workers: int | None = None, device: str = "auto"
) -> AbstractContextManager[Engine]:
    """Return the engine that a text names, for a ``with`` block; what it started ends with that.

    Args:
        spec: One of :data:`KINDS`.
        workers: Number of calls that run at once; None: as many as the engine has workers.
        device: Device of the runs; Ray gives each worker one GPU, or one CPU, accordingly.

    Raises:
        ConfigError: The text names no engine, or (on entering the block) it cannot be opened.
    """
    kind, colon, rest = spec.partition(":")
    if not colon or not rest:
        raise ConfigError(f"unknown executor {spec!r}; valid: local, {', '.join(KINDS)}")
    if kind == "dask":
        from planner.cluster.engines.dask_engine import open_dask

        return open_dask(spec, workers)
    if kind == "ray":
        from planner.cluster.engines.ray_engine import open_ray

        return open_ray(spec, workers, device)
    if kind == "slurm":
        from planner.cluster.engines.slurm_engine import open_slurm

        return open_slurm(spec, workers)
    if kind == "parsl":
        from planner.cluster.engines.parsl_engine import open_parsl

        return open_parsl(spec, workers)
    from planner.cluster.engines.own_executor import open_own_executor

    return open_own_executor(spec, workers)
