"""What many tests share: tiny runs, a profile, and a curve store that dies with the test."""

from __future__ import annotations

from pathlib import Path

import pytest

from floss_sim import RunConfig, dense, floss, load_profile, load_task
from floss_sim.network import NetworkProfile


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOSS_SIM_STORE", str(tmp_path / "store"))


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
