"""Commands, called in this process as a shell would call them."""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path

import pytest

import floss_sim.cli
import planner.cli

# A network of one's own, with everything that stands around a payload.
OWN = """
name = "own"
source = "made"
date = "2026"
[[clients]]
share = 1.0
down = "200 Mbit/s"
up = "20 Mbit/s"
rtt = "36 ms"
compute_per_example = "2 ms"
[transport]
framing = "grpc"
tls = true
headers = "ipv4"
connection = "new"
"""
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


def printed(monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    """Return what a command line prints to standard output; it must succeed."""
    monkeypatch.setattr(sys, "argv", list(words))
    with contextlib.redirect_stdout(io.StringIO()) as out, pytest.raises(SystemExit) as stop:
        _MAINS[words[0]]()
    assert not stop.value.code, words
    return out.getvalue()


def write_plan(folder: Path, *words: str) -> Path:
    """Run a planning command in a folder with a store of its own; return the folder.

    What it prints is in ``printed.json``.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("FLOSS_SIM_STORE", str(folder / "store"))
        (folder / "printed.json").write_text(printed(patch, *words), encoding="utf-8")
    return folder


def interruptible(module: str) -> list[str]:
    """Return how to start a command that hears Ctrl-C: a shell's background jobs ignore it."""
    hear = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    return [sys.executable, "-c", f"{hear}; import {module}; {module}.main()"]
