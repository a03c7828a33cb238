"""Logs of ``floss-plan``: silent for ten seconds, then what it does; bad input is one line."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from floss_sim.cli import progress_log
from floss_sim.errors import BudgetError
from planner import Request
from planner.cli import progress_bar
from planner.execution.begin import measuring
from planner.session import Workers

REQUEST = Request.of("digits", "lte", budget="20MB")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of the log's clock; the log looks at it when it is told to, not in a thread."""
    now = [0.0]
    monkeypatch.setattr(progress_log.ProgressLog.__init__, "__defaults__", (lambda: now[0],))
    monkeypatch.setattr(progress_log, "_TICK_S", 3600.0)
    return now


def stand_in(clock: list[float], seconds: float) -> Callable[..., str]:
    """Return what measures a step for some seconds, and tells it ten times a second."""

    def call(request: Request, *, on_progress, **others: object) -> str:
        for _ in range(round(10 * seconds)):
            clock[0] += 0.1
            on_progress(measuring(request))
        if seconds < 1:
            raise BudgetError("the budget affords nothing")
        return "done"

    return call


@pytest.mark.parametrize(
    ("seconds", "lines"), [(9.5, 0), (10.5, 1), (39.5, 1), (40.8, 2), (100.5, 4)]
)
def test_a_long_measurement_has_lines_from_ten_seconds_on(
    monkeypatch, capfd, clock: list[float], seconds: float, lines: int
):
    monkeypatch.setattr(progress_bar, "plan", stand_in(clock, seconds))
    made = progress_bar.plan_with_progress(REQUEST, also=(), store=None, workers=Workers("cpu", 1))
    assert made == "done"
    said = "measuring a step of rank 16 on this machine"
    assert capfd.readouterr() == ("", f"{said}\n" * lines)
    clock[0] = 0.0
    monkeypatch.setattr(progress_bar, "dry_run", stand_in(clock, seconds))
    assert progress_bar.dry_run_with_progress(REQUEST, None, Workers("cpu", 1)) == "done"
    assert capfd.readouterr() == ("", f"{said}\n" * lines)


def test_a_request_that_is_refused_at_once_prints_nothing(monkeypatch, capfd, clock: list[float]):
    monkeypatch.setattr(progress_bar, "plan", stand_in(clock, 0.4))
    with pytest.raises(BudgetError):
        progress_bar.plan_with_progress(REQUEST, also=(), store=None, workers=Workers("cpu", 1))
    assert capfd.readouterr() == ("", "")
