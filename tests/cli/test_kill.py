"""kill -9 at random moments: what is resumed equals what was never interrupted."""

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
    sys.executable, "-m", "floss_sim", "run", "--rank", "2", "--down-density", "1/4",
    "--up-density", "1/16", "--rounds", "60", "--eval-every", "7", "--json",
]  # fmt: skip
PLAN = [
    sys.executable, "-m", "planner", "--no-report",
    "--budget", "12-dense-rounds", "--upload-ratio", "16",
    "--ranks", "1,2", "--down-densities", "1/4", "--up-densities", "1/16", "--reference-rank",
    "2", "--max-rounds", "60", "--effort", "1", "--workers", "2", "--json",
]  # fmt: skip

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs kill -9")


def start_and_kill(command: list[str], alive_s: float, begun: Path) -> subprocess.Popen:
    """Start a command, wait for its first file, let it live a while, kill it."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(begun.glob("**/manifest.json")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(alive_s)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return process


def test_a_killed_run_resumes_to_the_same_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def finish(*arguments: str) -> dict:
        return json.loads(commands.printed(monkeypatch, "floss-sim", *RUN[3:], *arguments))

    whole = finish("--out", str(tmp_path / "whole"))
    moments = random.Random(7)
    killed = tmp_path / "killed"
    kills = []
    for _ in range(3):
        process = start_and_kill(
            [*RUN, "--out", str(killed)], moments.uniform(0.0, 1.5), tmp_path / "killed"
        )
        kills.append(process.returncode)
        (killed / "rounds-000003-deadbeef.parquet").write_bytes(b"half")  # died while writing
    assert -signal.SIGKILL in kills
    resumed = finish("--out", str(killed))
    one, other = (RunFolder.read(tmp_path / name) for name in ("whole", "killed"))
    assert other.record().rounds.equals(one.record().rounds)
    assert other.record().transfers.equals(one.record().transfers)
    assert other.model(60) == one.model(60)
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
        words = ("floss-plan", *PLAN[3:], *arguments)
        return json.loads(commands.printed(monkeypatch, *words))

    whole = planned("--store", str(tmp_path / "s1"), "--out", str(tmp_path / "whole"))
    arguments = ["--store", str(tmp_path / "s2"), "--out", str(tmp_path / "killed")]
    process = subprocess.Popen(
        [*PLAN, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not list((tmp_path / "s2").glob("*/manifest.json")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    workers = children(process.pid)
    assert len(workers) >= 2
    process.send_signal(signal.SIGKILL)
    process.wait()
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.05)
    resumed = planned(*arguments)
    assert resumed["effort"].pop("trained_now_rounds") > 0
    for key in ("trained_now_rounds", "trained_now_runs"):
        del whole["effort"][key]
    assert 0 < resumed["effort"].pop("trained_now_runs") <= whole["effort"]["runs"]
    assert resumed == whole


def test_ctrl_c_ends_with_one_line_and_what_is_committed_stays(tmp_path: Path):
    killed = tmp_path / "run"
    words = [*RUN[3:], "--rounds", "600", "--out", str(killed)]
    with subprocess.Popen(
        [*commands.interruptible("floss_sim.cli"), *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 60
        while not (killed / "manifest.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "floss-sim: interrupted; the same command goes on from here"
    assert "Traceback" not in err
    assert RunFolder.read(killed).record().rounds.num_rows > 0
