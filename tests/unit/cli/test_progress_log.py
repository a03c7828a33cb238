"""Lines of a log: at tenths, after 30 seconds, with the time left once rounds are done."""

from __future__ import annotations

from floss_sim.cli.progress_log import ProgressLog


class Timed:
    def __init__(self) -> None:
        self.now_s, self.lines = 100.0, []
        self.log = ProgressLog(self.lines.append, lambda: self.now_s)

    def after(self, seconds: float, done: int, total: int) -> list[str]:
        self.now_s += seconds
        self.lines.clear()
        self.log.update(done, total, f"{done} done")
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


def test_a_total_that_is_not_known_yet_has_lines_after_30_seconds():
    timed = Timed()
    assert not timed.after(0, 0, 0)
    assert not timed.after(29, 3, 0)
    assert timed.after(2, 3, 0)
    assert not timed.after(1, 3, 0)
    assert timed.after(40, 5, 0)


def test_seconds_that_are_known_are_said_instead_of_an_estimate():
    lines: list[str] = []
    log = ProgressLog(lines.append, lambda: 100.0)
    log.update(3, 10, "3 done", 42.0)
    assert lines == ["3 done, 42 s left"]
    log.update(10, 10, "all done", 7.0)
    assert lines[1:] == ["all done"]
