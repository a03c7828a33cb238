"""Commands, called in this process as a shell would call them."""

from __future__ import annotations

import sys

import pytest

import floss_sim.cli
import planner.cli

_MAINS = {"floss-sim": floss_sim.cli.main, "floss-plan": planner.cli.main}


def call(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *words: str
) -> tuple[int, str, str]:
    """Return the exit code of a command line, and what it printed: (code, out, err)."""
    monkeypatch.setattr(sys, "argv", list(words))
    with pytest.raises(SystemExit) as stop:
        _MAINS[words[0]]()
    out, err = capfd.readouterr()
    return stop.value.code, out, err
