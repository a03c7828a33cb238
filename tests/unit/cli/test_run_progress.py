"""Progress of a run: what a log says between the rounds, and that a finished run says nothing."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from commands import call
from rich.console import Console

from floss_sim.cli import run_progress
from floss_sim.cli.console import progress_bar
from floss_sim.cli.progress_log import ProgressLog
from floss_sim.cli.run_progress import RunProgress


class Watched:
    """Progress of a run of 3 rounds, in a log whose clock is set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s, self.lines = 0.0, []
        monkeypatch.setattr(run_progress.time, "monotonic", lambda: self.now_s)
        log = ProgressLog(self.lines.append, lambda: self.now_s)
        self.bar = progress_bar(Console(file=io.StringIO()), "{task.fields[note]}")
        self.progress = RunProgress(self.bar, log, "floss", 3)

    def row(self, number: int, accuracy: float | None = None) -> None:
        row = {"round": number, "accuracy": accuracy, "closed_at_s": 1.5 * number}
        self.progress.end_round(row)


def test_a_long_round_says_its_steps_and_the_time_left(monkeypatch):
    watched = Watched(monkeypatch)
    progress = watched.progress
    progress.start(0)
    progress.work("loading", 0, 0)
    for steps in range(1, 100):
        watched.now_s += 2.0  # a step
        progress.work("training", steps, 99)
    watched.row(1)
    progress.work("evaluating", 0, 0)
    watched.now_s += 31
    progress.log.repeat()
    texts = [line.partition(", about")[0] for line in watched.lines]
    assert texts == [
        "0 of 3 rounds, loading data and model",
        *(f"0 of 3 rounds, round 1: {steps} of 99 local steps" for steps in (15, 30, 45, 60, 75)),
        "0 of 3 rounds, round 1: 90 of 99 local steps",
        "1 of 3 rounds, simulated 1.5 s",
        "1 of 3 rounds, simulated 1.5 s, evaluating after round 2",
    ]
    assert "about 9.5 min left" in watched.lines[1]  # 2.85 rounds of 99 steps and aggregation
    assert all("left" in line for line in watched.lines[1:])


def test_quick_rounds_have_a_line_each_tenth_and_no_more(monkeypatch):
    watched = Watched(monkeypatch)
    watched.progress.start(0)
    watched.progress.work("loading", 0, 0)
    for number in (1, 2, 3):
        for steps in (1, 2):
            watched.now_s += 0.3
            watched.progress.work("training", steps, 2)
        watched.row(number, 0.5)
    watched.progress.work("testing", 0, 0)
    assert [line.partition(", about")[0] for line in watched.lines[1:]] == [
        f"{number} of 3 rounds, simulated {1.5 * number:g} s, accuracy 0.500"
        for number in (1, 2, 3)
    ]


def test_a_run_with_nothing_left_to_train_says_more_only_if_it_takes_long(monkeypatch):
    watched = Watched(monkeypatch)
    watched.progress.start(3)
    for what in ("loading", "testing"):
        watched.progress.work(what, 0, 0)
    assert watched.lines == []
    watched.now_s += 11
    watched.progress.log.repeat()
    assert watched.lines == ["3 of 3 rounds, measuring test accuracy"]


def test_the_bar_moves_within_a_round(monkeypatch):
    watched = Watched(monkeypatch)
    watched.progress.start(1)
    watched.progress.work("training", 5, 9)
    (task,) = watched.bar.tasks
    assert (task.completed, task.total) == (1.5, 3)
    assert task.fields["note"] == "round 2: 5 of 9 local steps"


def test_a_command_tells_its_rounds_on_stderr(monkeypatch, capfd, tmp_path: Path):
    words = ["--rank", "1", "--rounds", "2", "--out", str(tmp_path / "run")]
    code, _, err = call(monkeypatch, capfd, "floss-sim", "run", *words)
    assert code == 0
    starts = [line.partition(",")[0] for line in err.splitlines()]
    assert starts == ["0 of 2 rounds", "1 of 2 rounds", "2 of 2 rounds"]
    code, _, err = call(monkeypatch, capfd, "floss-sim", "run", *words)
    assert (code, err) == (0, f"{tmp_path / 'run'} holds 2 rounds; nothing is left to train\n")
