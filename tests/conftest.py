"""What many tests share: tiny runs, a profile, and a curve store that dies with the test."""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator
from itertools import count

import pytest
from small_sessions import in_this_process

import planner.calls
import planner.session
from floss_sim import RunConfig, dense, floss, load_profile, load_task
from floss_sim.network import NetworkProfile

_NUMBERS = count()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect tests without collections of garbage, which took a quarter of the time.

    Nothing that was imported is garbage: later collections need not look at it either.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True)
def _own_store(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Set the store to ``tmp_path / "store"``, or to a path that no other test has.

    pytest finds the next free number of a ``tmp_path`` by listing all earlier ones: one for each of
    9,000 tests took 20 processor seconds in each process.
    """
    if "tmp_path" in request.fixturenames:
        store = request.getfixturevalue("tmp_path") / "store"
    else:
        store = tmp_path_factory.getbasetemp() / f"store-{next(_NUMBERS)}"
    monkeypatch.setenv("FLOSS_SIM_STORE", str(store))


@pytest.fixture(scope="session", autouse=True)
def _training_in_this_process() -> Iterator[None]:
    """Plans that a test makes in its own process train there: a worker takes seconds to start.

    Commands started as processes of their own have workers, and so has what calls
    ``planner.execution.workers`` itself.
    """
    with pytest.MonkeyPatch.context() as patch:
        for module in (planner.calls, planner.session):
            patch.setattr(module, "worker_pool", in_this_process)
        yield


@pytest.fixture(scope="session")
def digits() -> RunConfig:
    """Dense LoRA of rank 2 on digits."""
    return RunConfig.of(load_task("digits"), dense(), rank=2)


@pytest.fixture(scope="session")
def sparse_digits() -> RunConfig:
    """FLoSS of rank 2 on digits, a quarter down and a sixteenth up."""
    return RunConfig.of(load_task("digits"), floss(1 / 4, 1 / 16), rank=2)


@pytest.fixture(scope="session")
def paper() -> NetworkProfile:
    """The thesis' network: 200 down, 20 up, no latency."""
    return load_profile("paper-200-20")
