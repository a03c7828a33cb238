"""Lines of a log: at tenths, after 30 seconds, with the time left once rounds are done."""

from __future__ import annotations

from threading import Event

import pytest

from floss_sim.cli import progress_log
from floss_sim.cli.progress_log import ProgressLog, late_lines


class Timed:
    def __init__(self) -> None:
        self.now_s, self.lines = 100.0, []
        self.log = ProgressLog(self.lines.append, lambda: self.now_s)

    def after(self, seconds: float, done: float, total: int) -> list[str]:
        self.now_s += seconds
        self.lines.clear()
        self.log.update(done, total, f"{done} done")
        return list(self.lines)

    def silent(self, seconds: float) -> list[str]:
        """Return the lines of a time without news."""
        self.now_s += seconds
        self.lines.clear()
        self.log.repeat()
        return list(self.lines)


def test_there_is_a_line_at_each_tenth_and_none_between():
    timed = Timed()
    printed = [timed.after(0.01, done, 50) for done in range(51)]
    assert [done for done, lines in enumerate(printed) if lines] == list(range(0, 51, 5))


def test_there_is_a_line_every_30_seconds_whatever_happens():
    timed = Timed()
    assert timed.after(0, 0, 1000)
    assert not timed.after(29, 1, 1000)
    assert timed.after(1.5, 1, 1000)
    assert not timed.after(29, 1, 1000)
    assert timed.after(2, 1, 1000)


def test_loading_is_no_part_of_the_estimate():
    timed = Timed()
    assert timed.after(0, 20, 120) == ["20 done"]
    assert timed.after(60, 30, 120) == ["30 done"]  # the first rounds, and one minute of loading
    assert timed.after(10, 50, 120) == ["50 done, about 35 s left"]
    assert timed.after(35, 120, 120) == ["120 done"]


def test_a_total_that_is_not_known_yet_has_a_line_after_10_seconds_then_every_30():
    timed = Timed()
    assert not timed.after(0, 0, 0)
    assert not timed.after(9, 3, 0)
    assert timed.after(2, 3, 0)
    assert not timed.after(29, 3, 0)
    assert timed.after(2, 5, 0)


def test_a_part_of_a_round_is_no_tenth_but_counts_for_the_time_left():
    timed = Timed()
    assert timed.after(0, 0, 3) == ["0 done"]
    assert not timed.after(5, 0.25, 3)  # loading, and a quarter of a round
    assert timed.after(40, 0.75, 3) == ["0.75 done, about 3 min left"]  # 80 s a round
    assert not timed.after(19, 0.9999, 3)
    assert timed.after(1, 1, 3) == ["1 done, about 2.67 min left"]


def test_a_silent_time_has_the_last_line_again_with_less_time_left():
    timed = Timed()
    assert timed.silent(100) == []  # nothing is known
    assert timed.after(0, 0, 4) == ["0 done"]
    timed.after(7, 0.5, 4)
    timed.after(10, 1, 4)  # 20 s a round, 60 s left
    assert timed.silent(29) == []
    assert timed.silent(1) == ["1 done, about 30 s left"]
    assert timed.silent(29) == []
    assert timed.silent(1) == ["1 done"]  # longer than expected: no estimate holds


def test_the_time_that_is_left_runs_on_in_silence():
    lines: list[str] = []
    now = [0.0]
    log = ProgressLog(lines.append, lambda: now[0])
    log.update(1, 10, "1 done", 100.0)
    now[0] = 30
    log.repeat()
    assert lines == ["1 done, 1.67 min left", "1 done, 1.17 min left"]


def test_lines_come_from_a_thread_while_a_block_is_busy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress_log, "_TICK_S", 0.001)
    now, said = [0.0], Event()
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        said.set()

    log = ProgressLog(say, lambda: now[0])
    log.update(0, 0, "measuring")
    with log.ticking():
        now[0] = 11.0
        assert said.wait(60)
    now[0] = 100.0
    assert lines == ["measuring"]  # the thread has ended


def test_a_quick_block_prints_nothing_and_its_error_passes(capfd):
    with pytest.raises(ValueError, match="bad input"), late_lines("loading"):
        raise ValueError("bad input")
    assert capfd.readouterr() == ("", "")


def test_seconds_that_are_known_are_said_instead_of_an_estimate():
    lines: list[str] = []
    log = ProgressLog(lines.append, lambda: 100.0)
    log.update(3, 10, "3 done", 42.0)
    assert lines == ["3 done, 42 s left"]
    log.update(10, 10, "all done", 7.0)
    assert lines[1:] == ["all done"]
