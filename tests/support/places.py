"""Folders that tests read: this repository's, and real data beside it where there are any."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
EXPERIMENTS = REPOSITORY / "experiments"
SHARED = REPOSITORY.parent / "shared" / "data"


def load_study(path: str) -> ModuleType:
    """Return a module of ``experiments``, such as ``real_grid/cuts.py``; it imports no sibling."""
    name = path.removesuffix(".py").replace("/", "_")
    spec = importlib.util.spec_from_file_location(name, EXPERIMENTS / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_with_siblings(folder: str, name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return a module of a folder of ``experiments`` that imports others of the same folder.

    It is in ``sys.modules`` by its own name, and its folder on the path, until the test ends.
    """
    monkeypatch.syspath_prepend(str(EXPERIMENTS / folder))
    spec = importlib.util.spec_from_file_location(name, EXPERIMENTS / folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module
