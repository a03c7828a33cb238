"""Engine of a user's own executor: ``module:function``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from importlib import import_module

from floss_sim.errors import ConfigError, FlossError
from planner.cluster.engine import Engine


@contextmanager
def open_own_executor(spec: str, workers: int | None = None) -> Iterator[Engine]:
    """Yield the engine of an executor that a function returns; it is shut down after the block.

    Args:
        spec: ``module:function``; the function has no arguments and returns a
            ``concurrent.futures.Executor``, or an :class:`Engine`.
        workers: Number of calls that run at once; None: the executor's ``_max_workers``, as the
            executors of the standard library have it, or the number of cores.

    Raises:
        ConfigError: There is no such module or function, it fails, or it returns no executor.
    """
    made = _made(spec)
    engine = made if isinstance(made, Engine) else _engine(made, spec, workers)
    try:
        yield engine
    finally:
        engine.executor.shutdown(wait=False, cancel_futures=True)


def engine_of(executor: Executor, workers: int | None = None, name: str = "executor") -> Engine:
    """Return the engine of an executor.

    Args:
        executor: The executor.
        workers: Number of calls that run at once; None as in :func:`open_own_executor`.
        name: Name in messages.
    """
    own = getattr(executor, "_max_workers", None)
    count = workers or (own if isinstance(own, int) else None) or os.cpu_count() or 1
    return Engine(executor, count, name)


def _engine(made: object, spec: str, workers: int | None) -> Engine:
    if not isinstance(made, Executor):
        raise ConfigError(
            f"executor {spec}: the function returned {type(made).__name__}, which is no "
            "concurrent.futures.Executor"
        )
    return engine_of(made, workers, spec)


def _made(spec: str) -> object:
    """Return what the function returns; errors of the user's code become one line."""
    module, _, name = spec.partition(":")
    try:
        found = getattr(import_module(module), name)
    except ImportError as error:
        hint = "; processes of this machine are set by --workers" if module == "local" else ""
        raise ConfigError(f"executor {spec}: cannot import {module!r}: {error}{hint}") from None
    except (AttributeError, ValueError):
        raise ConfigError(f"executor {spec}: {module} has no function {name!r}") from None
    except Exception as error:
        raise ConfigError(f"executor {spec}: importing {module} fails: {error!r}") from error
    if not callable(found):
        raise ConfigError(f"executor {spec}: {name} is no function")
    try:
        return found()
    except FlossError:
        raise
    except Exception as error:
        raise ConfigError(f"executor {spec}: {name}() fails: {error!r}") from error
