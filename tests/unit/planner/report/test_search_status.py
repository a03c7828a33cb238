"""Status of a search in the folder of its plan."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import commands
import pytest

from floss_sim.errors import PlanError
from planner.progress import ClusterState, Progress
from planner.report.search_status import STATUS_FILE, StatusWriter, read_status

NOW = Progress("stage 2: 4 runs to 33 %", 40, 100, 12, 0.84, workers=3, busy_share=0.876)


def test_a_status_says_the_line_of_the_progress_and_an_estimate(tmp_path: Path):
    at = [1000.0]
    with StatusWriter(tmp_path / "new" / "plan", lambda: at[0]) as writer:
        writer.update(Progress("predicting costs"))
        assert not list(tmp_path.iterdir())  # nothing is trained yet
        writer.update(Progress("stage 1", 20, 100, 8, workers=3))
        at[0] += 20
        writer.update(NOW)
        found = read_status(tmp_path / "new" / "plan")
        assert found.lines()[0] == f"{NOW.line()}, about 1 min left"
        assert "3 workers, 88 % busy" in NOW.line()
        at[0] += 0.5
        writer.update(Progress("stage 3", 60, 100, 12))  # within a second: not written
        assert read_status(tmp_path / "new" / "plan") == found
        writer.finish(interrupted=False)
    ended = read_status(tmp_path / "new" / "plan")
    assert (ended.state, ended.left_s, ended.done) == ("finished", None, 40)
    assert ended.lines()[1].startswith("Finished at 1970-01-01 00:17:00 UTC, after 20 s")


def test_retries_and_bytes_are_those_of_a_cluster(tmp_path: Path):
    cluster = ClusterState("dask:tcp://127.0.0.1:8786", 3, retries=2, sent_bytes=3_000_000)
    now = Progress("stage 1", 1, 10, 1, cluster=cluster, workers=3, busy_share=1.0)
    with StatusWriter(tmp_path) as writer:
        writer.update(now)
        assert "2 retries, 3 MB sent, 0 B received" in read_status(tmp_path).lines()[0]
    assert "retries" not in NOW.line()


def test_a_search_that_fails_leaves_no_status(tmp_path: Path):
    def fail(writer: StatusWriter) -> None:
        writer.update(NOW)
        raise PlanError("the search departs")

    with pytest.raises(PlanError), StatusWriter(tmp_path / "a" / "b") as writer:
        fail(writer)
    assert not list(tmp_path.iterdir())


def test_a_search_that_was_killed_no_longer_runs(tmp_path: Path):
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    with StatusWriter(tmp_path, lambda: 1000.0) as writer:
        writer.update(NOW)
        content = json.loads((tmp_path / STATUS_FILE).read_text())
    content["process"] = ended.pid
    (tmp_path / STATUS_FILE).write_text(json.dumps(content))
    found = read_status(tmp_path)
    assert found.state == "ended"
    assert "No longer runs: last written at 1970-01-01 00:16:40 UTC" in found.lines()[1]
    near = read_status(tmp_path, lambda: 1005.0)  # on another machine, its process is unknown
    assert near.state == "running"


def test_the_command_prints_lines_or_json(monkeypatch, capfd, tmp_path: Path):
    with StatusWriter(tmp_path) as writer:
        writer.update(NOW)
        told = json.loads(
            commands.printed(monkeypatch, "floss-plan", "status", str(tmp_path), "--json")
        )
    assert (told["state"], told["done"], told["busy_share"]) == ("running", 40, 0.876)
    with pytest.raises(PlanError, match=r"has no status\.json"):
        read_status(tmp_path / "none")
