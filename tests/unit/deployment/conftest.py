"""The exported app, run in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from exported_apps import run_exported, small_config
from flower_stand_ins import Grid

from floss_sim.methods import floss


@dataclass(frozen=True)
class ExportedRun:
    """A run of the app: its folder, with ``app`` and ``record``, and its grid."""

    folder: Path
    grid: Grid


@pytest.fixture(scope="session")
def floss_run(tmp_path_factory: pytest.TempPathFactory) -> ExportedRun:
    """Return one run of FLoSS that tests read."""
    folder = tmp_path_factory.mktemp("floss")
    with pytest.MonkeyPatch.context() as patch:
        grid = run_exported(small_config(floss(1 / 4, 1 / 16)), folder, patch, writes=True)
    return ExportedRun(folder, grid)


@pytest.fixture
def run_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Grid]:
    """Return a function that exports a configuration and runs the app to ``tmp_path/record``."""
    return partial(run_exported, folder=tmp_path, monkeypatch=monkeypatch)
