"""Which jobs share a pass: proofs are kept, paid for, checked again, and taken back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from floss_sim.training.side_by_side import bit_checks
from floss_sim.training.side_by_side.bit_checks import BitChecks
from floss_sim.training.side_by_side.limits import DeviceLimits
from floss_sim.training.side_by_side.pass_jobs import Job

ALONE, BOTH, TOGETHER = [1, 1], [2, 1, 1], [2]


@dataclass(frozen=True, eq=False)
class Backbone:
    """As much of a bank as decides who shares."""

    bf16: bool


@dataclass(frozen=True, eq=False)
class Small(Job[int]):
    """Comes to a number; says how many are computed at once, and what may go wrong then."""

    rows: int
    passes: list[int]
    over: Any
    many: int = 1
    shifted: int = 0
    error: Exception | None = None

    @property
    def bank(self) -> Any:
        return self.over

    @property
    def clients(self) -> int:
        return self.many

    @property
    def shape(self) -> tuple[int]:
        return (self.rows,)

    @staticmethod
    def compute_pass(jobs: Sequence[Small]) -> list[int]:
        jobs[0].passes.append(len(jobs))
        shift = [job.shifted if len(jobs) > 1 else 0 for job in jobs]
        for job in jobs:
            if job.error and (len(jobs) > 1 or not isinstance(job.error, MemoryError)):
                raise job.error
        return [job.rows + more for job, more in zip(jobs, shift, strict=True)]

    @staticmethod
    def bits(result: int) -> bytes:
        return b"%d" % result


class Play:
    """Has pairs of jobs computed."""

    def __init__(self, bf16: bool = False) -> None:
        self.sharing = BitChecks(DeviceLimits(2, 8, overlaps_host=True, checks_by_shape=True))
        self.bank = Backbone(bf16)

    def pair(self, rows: int, **said: Any) -> list[int]:
        """Return how many jobs were computed at once, one time after another."""
        passes: list[int] = []
        jobs = [Small(8, rows, passes, self.bank, **said), Small(8, 0, passes, self.bank)]
        self.results = [r for part in self.sharing.passes(jobs) for r in self.sharing.results(part)]
        return passes


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    texts: list[str] = []
    monkeypatch.setattr(bit_checks.warnings, "warn", lambda text, *_, **__: texts.append(text))
    yield texts


def test_a_shape_is_proved_once_and_shared_from_then_on():
    play = Play()
    assert [play.pair(rows) for rows in (5, 5, 5, 6, 5, 6)] == [
        BOTH, TOGETHER, TOGETHER, BOTH, TOGETHER, TOGETHER,
    ]  # fmt: skip
    assert play.results == [0, 6]


def test_the_order_in_which_runs_come_makes_no_shape():
    play, passes = Play(), []
    one, other = Small(8, 5, passes, play.bank), Small(8, 7, passes, play.bank)
    for jobs in ([one, other], [other, one]):
        for part in play.sharing.passes(jobs):
            play.sharing.results(part)
    assert passes == [*BOTH, *TOGETHER]


def test_shapes_that_never_come_back_cost_no_more_than_three_proofs():
    play = Play()
    ways = [play.pair(rows) for rows in range(1, 200)]
    assert ways == [BOTH] * 3 + [ALONE] * 196
    assert play.pair(100) == BOTH  # the second time
    assert play.pair(100) == TOGETHER


def test_what_is_shared_pays_for_proofs():
    play = Play()
    for _ in range(6):
        play.pair(1)  # a proof, and five that pay for as many
    assert [play.pair(rows) for rows in range(2, 11)] == [BOTH] * 7 + [ALONE] * 2


def test_in_bf16_a_shape_is_proved_three_times():
    play = Play(bf16=True)
    assert [play.pair(5) for _ in range(5)] == [BOTH] * 3 + [TOGETHER] * 2


def test_a_shape_that_shifts_a_bit_is_computed_one_by_one_and_others_share(said: list[str]):
    play = Play()
    assert [play.pair(5, shifted=1), play.pair(5), play.pair(5)] == [BOTH, ALONE, ALONE]
    assert play.results == [0, 5]
    assert [play.pair(6), play.pair(6)] == [BOTH, TOGETHER]
    assert play.pair(7, shifted=1) == BOTH
    why = "batching changes the last bits of a result for some shapes of a pass"
    assert said == [f"{why}: these runs train one at a time"]


def test_now_and_then_a_shared_pass_is_checked(said: list[str]):
    play = Play()
    ways = [play.pair(5) for _ in range(1 + 2 * bit_checks._RECHECK_EVERY)]
    assert [n for n, way in enumerate(ways) if way == BOTH] == [0, 100, 200]
    for _ in range(bit_checks._RECHECK_EVERY - 1):
        play.pair(5)
    assert play.pair(5, shifted=1) == BOTH
    assert play.results == [0, 5]
    assert [play.pair(5), play.pair(6), play.pair(6)] == [ALONE] * 3  # shapes do not decide here
    why = "batching has changed the last bits of a result after all"
    assert said == [f"{why}: these runs train one at a time"]


def test_a_pass_in_which_a_run_fails_proves_nothing():
    play = Play()
    assert play.pair(5, error=ValueError("no")) == BOTH
    assert [str(result) for result in play.results] == ["0", "no"]
    assert [play.pair(5), play.pair(5)] == [BOTH, TOGETHER]


def test_where_a_pass_does_not_fit_fewer_clients_share_the_next(said: list[str]):
    play, passes = Play(), []
    jobs = [Small(8, 5, passes, play.bank, 2, error=MemoryError()) for _ in range(3)]
    (whole,) = play.sharing.passes(jobs)
    assert play.sharing.results(whole) == [5] * 3
    assert [len(part) for part in play.sharing.passes(jobs)] == [1, 1, 1]
    why = "runs do not fit in one pass (MemoryError)"
    assert said == [f"{why}: later passes have at most 3 clients"]


def test_other_kinds_and_banks_share_no_pass():
    class Other(Small):
        pass

    one, other = Backbone(False), Backbone(False)
    jobs = [
        Small(8, 1, [], one),
        Small(8, 1, [], other),
        Other(8, 1, [], one),
        Small(8, 1, [], one),
    ]
    found = [[jobs.index(job) for job in part] for part in Play().sharing.passes(jobs)]
    assert found == [[0, 3], [1], [2]]
