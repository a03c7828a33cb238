"""Ctrl-C and kill -9 at random moments: what is resumed equals what was never interrupted."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import commands
import pytest

from floss_sim.records import RunFolder

RUN = [
    "--rank", "2", "--down-density", "1/4", "--up-density", "1/16", "--rounds", "30",
    "--eval-every", "7", "--json",
]  # fmt: skip
PLAN = [
    "--no-report", "--budget", "2-dense-rounds", "--upload-ratio", "16",
    "--ranks", "1,2", "--down-densities", "1/4", "--up-densities", "1/16", "--reference-rank",
    "2", "--max-rounds", "6", "--effort", "1", "--workers", "2", "--json",
]  # fmt: skip
# Each round is committed, so that a run stops after a commit or within one.
RUN_OF_COMMITS = """
import signal, sys
from floss_sim.cli import main
from floss_sim.runs.lockstep import run
signal.signal(signal.SIGINT, signal.default_int_handler)
run.__kwdefaults__["commit_every_s"] = 0.0
sys.argv[0] = "floss-sim"
main()
"""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs kill -9")


def committed(run: Path) -> int:
    return RunFolder.read(run).manifest().rounds if (run / "manifest.json").exists() else 0


def stopped(run: Path, number: int, alive_s: float) -> tuple[int, str]:
    """Start a run, wait for its next commit, let it live a while, send it a signal.

    Returns:
        The exit code, and what was written to standard error.
    """
    before, deadline = committed(run), time.monotonic() + 120
    words = [sys.executable, "-c", RUN_OF_COMMITS, "run", *RUN, "--out", str(run)]
    with subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            while committed(run) == before and process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            time.sleep(alive_s)
            process.send_signal(number)
            return process.wait(60), process.stderr.read()
        finally:
            process.kill()


def test_a_run_that_was_interrupted_and_killed_resumes_to_the_same_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def finish(out: Path) -> dict:
        words = ("floss-sim", "run", *RUN, "--out", str(out))
        return json.loads(commands.printed(monkeypatch, *words))

    whole = finish(tmp_path / "whole")
    moments, other = random.Random(7), tmp_path / "other"
    code, err = stopped(other, signal.SIGINT, moments.uniform(0.0, 0.3))
    assert code == 130
    assert err.splitlines()[-1] == "floss-sim: interrupted; the same command goes on from here"
    assert "Traceback" not in err
    interrupted_at = committed(other)
    code, _ = stopped(other, signal.SIGKILL, moments.uniform(0.0, 0.3))
    assert code == -signal.SIGKILL
    assert 0 < interrupted_at < committed(other) < 30
    (other / "rounds-000003-deadbeef.parquet").write_bytes(b"half")  # died while writing
    resumed = finish(other)
    one, other = (RunFolder.read(tmp_path / name) for name in ("whole", "other"))
    assert other.record().rounds.equals(one.record().rounds)
    assert other.record().transfers.equals(one.record().transfers)
    assert other.model(30) == one.model(30)
    assert {**resumed, "out": ""} == {**whole, "out": ""}
    checkpoints = [dict(folder.snapshot().tensors) for folder in (one, other)]
    assert all((checkpoints[0][name] == checkpoints[1][name]).all() for name in checkpoints[0])


def children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            child = int(stat.parent.name)
            found += [child, *children(child)]
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_killed_planner_takes_its_workers_with_it_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def planned(*arguments: str) -> dict:
        words = ("floss-plan", *PLAN, *arguments)
        return json.loads(commands.printed(monkeypatch, *words))

    whole = planned("--store", str(tmp_path / "s1"), "--out", str(tmp_path / "whole"))
    arguments = ["--store", str(tmp_path / "s2"), "--out", str(tmp_path / "killed")]
    with subprocess.Popen(
        [sys.executable, "-m", "planner", *PLAN, *arguments],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            deadline = time.monotonic() + 120
            while not list((tmp_path / "s2").glob("*/manifest.json")):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            workers = children(process.pid)
            assert len(workers) >= 2
        finally:
            process.kill()
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.05)
    resumed = planned(*arguments)
    assert resumed["effort"].pop("trained_now_rounds") > 0
    for key in ("trained_now_rounds", "trained_now_runs"):
        del whole["effort"][key]
    assert 0 < resumed["effort"].pop("trained_now_runs") <= whole["effort"]["runs"]
    assert resumed == whole
