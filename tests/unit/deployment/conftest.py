"""The exported app, run in this process."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from exported_apps import run_exported
from flower_stand_ins import Grid


@pytest.fixture
def run_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Grid]:
    """Return a function that exports a configuration and runs the app to ``tmp_path/record``."""
    return partial(run_exported, folder=tmp_path, monkeypatch=monkeypatch)
