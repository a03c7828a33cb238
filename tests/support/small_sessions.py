"""Sessions of a planner that train within this process."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def in_this_process(workers: int) -> Iterator[Executor]:
    """Train in a thread: processes would take seconds to start at every call."""
    with ThreadPoolExecutor(1) as pool:
        yield pool
