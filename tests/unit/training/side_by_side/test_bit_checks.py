"""Which jobs share a pass: checks come first, are repeated, and take trust back."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_jobs import ALONE, BOTH, TOGETHER, Backbone, Play, Small

from floss_sim.training.side_by_side import bit_checks
from floss_sim.training.side_by_side.bit_checks import BitChecks


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    return Play(BitChecks(8), monkeypatch)


def test_three_identical_checks_of_any_shape_are_enough_on_a_cpu(play: Play):
    ways = [play.pair(rows) for rows in (5, 6, 5, 7, 5, 8)]
    assert ways == [BOTH] * 3 + [TOGETHER] * 3
    assert play.results == [0, 8]


def test_runs_train_one_by_one_where_their_bank_is_not_exact(play: Play):
    play.bank = Backbone(exact=False)
    assert [play.pair(5) for _ in range(5)] == [ALONE] * 5


def test_a_first_check_that_differs_ends_batching_for_the_bank(play: Play):
    assert [play.pair(5, shifted=1), play.pair(5), play.pair(6)] == [BOTH, ALONE, ALONE]
    assert play.results == [0, 6]
    why = "batching changes the last bits of a result on this machine"
    assert play.said == [f"{why}: these runs train one at a time"]
    assert not play.checks.take_doubts()  # nothing was batched without a check


def test_now_and_then_a_batched_pass_is_checked(play: Play):
    ways = [play.pair(5) for _ in range(3 + 2 * bit_checks._RECHECK_EVERY)]
    assert [n for n, way in enumerate(ways) if way == BOTH] == [0, 1, 2, 102, 202]


def test_a_repeated_check_that_differs_makes_what_was_batched_since_doubtful(play: Play):
    every = bit_checks._RECHECK_EVERY
    for number in range(1, 3 + every + 1):  # three checks, then batched passes, the last checked
        play.pair(5, round=number, folders=("one", "early"))
    assert not play.checks.take_doubts()
    for number in range(1, every):
        play.pair(5, round=200 + number, folders=("one", "two" if number < 50 else "three"))
    play.pair(5, round=299, shifted=1, folders=("one", "four"))
    why = "batching has changed the last bits of a result after all"
    assert play.said == [f"{why}: these runs train one at a time"]
    assert sorted(play.checks.take_doubts()) == [
        (Path("one"), 201, why), (Path("three"), 250, why), (Path("two"), 201, why),
    ]  # fmt: skip
    assert not play.checks.take_doubts()
    assert [play.pair(5), play.pair(6)] == [ALONE] * 2
    assert play.results == [0, 6]


def test_a_pass_in_which_a_run_fails_proves_nothing(play: Play):
    assert play.pair(5, error=ValueError("no")) == BOTH
    assert [str(result) for result in play.results] == ["0", "no"]
    assert [play.pair(5) for _ in range(4)] == [BOTH] * 3 + [TOGETHER]


def test_an_error_in_a_repeated_check_is_no_difference(play: Play, monkeypatch: pytest.MonkeyPatch):
    every = bit_checks._RECHECK_EVERY
    for _ in range(3 + every - 1):
        play.pair(5)
    with monkeypatch.context() as patch:  # the shared pass succeeds, a job alone does not
        patch.setattr(Small, "result", lambda self: MemoryError())
        assert play.pair(5) == TOGETHER
    assert not play.said
    assert not play.checks.take_doubts()
    assert play.pair(5) == TOGETHER


def test_where_a_pass_does_not_fit_fewer_clients_share_the_next(play: Play):
    jobs = [Small(5, play.bank, 2, error=MemoryError()) for _ in range(3)]
    (whole,) = play.checks.passes(jobs)
    assert [int(r) for r in play.checks.results(whole, [Path()] * 3)] == [5] * 3
    assert [len(part) for part in play.checks.passes(jobs)] == [1, 1, 1]
    why = "runs do not fit in one pass (MemoryError)"
    assert play.said == [f"{why}: later passes have at most 3 clients"]


def test_other_banks_share_no_pass(play: Play):
    one, other = Backbone(), Backbone()
    jobs = [Small(1, one), Small(1, other), Small(1, one)]
    found = [[jobs.index(job) for job in part] for part in play.checks.passes(jobs)]
    assert found == [[0, 2], [1]]


def test_a_pass_keeps_to_the_chunk_of_each_and_to_the_limit(play: Play):
    jobs = [Small(1, play.bank, 2, chunk=chunk) for chunk in (4, 8, 8, 8)]
    assert [len(part) for part in play.checks.passes(jobs)] == [2, 2]

    def parts(sizes: list[int], most: int) -> list[list[int]]:
        return [sizes[part] for part in bit_checks._pass_slices(sizes, most)]

    assert parts([5] * 8, 24) == [[5] * 4, [5] * 4]
    assert parts([5, 3, 9, 1], 8) == [[5, 3], [9], [1]]
    assert parts([50], 24) == [[50]]
