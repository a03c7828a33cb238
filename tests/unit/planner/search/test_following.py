"""A strategy whose effort follows what may still be trained."""

from __future__ import annotations

import pytest

from planner.candidates import grid
from planner.curves import Curve
from planner.search import STRATEGIES
from planner.search.following import Following
from planner.search.strategy import search

HORIZONS = dict.fromkeys(grid([1, 2, 4, 8, 16], [1.0, 1 / 4], [1.0, 1 / 4, 1 / 16]), 60)
NBYTES = {c: 100.0 * c.rank for c in HORIZONS}


def made(name: str, effort: int):
    return STRATEGIES[name](HORIZONS, NBYTES, effort, 0, int, 350)


class Training:
    """Counts rounds; a curve rises with rank and rounds."""

    def __init__(self, left: int, changes: dict[int, int] | None = None) -> None:
        self.rounds = dict.fromkeys(HORIZONS, 0)
        self._left = left
        self._changes = dict(changes or {})

    def left(self) -> int:
        spent = sum(self.rounds.values())
        for at, more in list(self._changes.items()):
            if spent >= at:
                self._left += more
                del self._changes[at]
        return self._left - spent

    def extend(self, proposals):
        for one in proposals:
            self.rounds[one.candidate] = max(one.rounds, self.rounds[one.candidate])
        return {p.candidate: self._curve(p.candidate, p.rounds) for p in proposals}

    def _curve(self, candidate, rounds: int) -> Curve:
        seen = tuple(range(1, rounds + 1))
        best = 0.6 + 0.02 * candidate.rank
        return Curve(seen, tuple(best * n / (n + 5) for n in seen), rounds)


@pytest.mark.parametrize("name", ["race", "halving", "asha", "random"])
def test_an_effort_that_does_not_change_gives_the_same_search(name: str):
    plain, followed = Training(400), Training(400)
    search(made(name, 400), plain.extend)
    search(Following(made(name, 400), followed.left), followed.extend)
    assert followed.rounds == plain.rounds


@pytest.mark.parametrize("name", ["race", "asha", "random"])
@pytest.mark.parametrize("change", [-400, 300])
def test_an_effort_that_changes_is_kept_and_used(name: str, change: int):
    training = Training(900, {150: change})
    search(Following(made(name, 900), training.left), training.extend)
    spent = sum(training.rounds.values())
    assert spent <= 900 + change + 60  # a part is not taken back
    assert name == "race" or 0.8 * (900 + change) < spent  # the race ends before: little to gain
    assert any(rounds == 60 for rounds in training.rounds.values())


def test_a_strategy_ends_while_what_is_left_finishes_its_best_run():
    training = Training(500, {150: -250})
    search(Following(made("race", 500), training.left), training.extend)
    assert training.left() >= 60 - max(training.rounds.values())


def test_a_large_step_is_taken_in_parts():
    training, parts = Training(600), []

    def extend(proposals):
        parts.append(sum(p.rounds - training.rounds[p.candidate] for p in proposals))
        return training.extend(proposals)

    search(Following(made("random", 600), training.left), extend)
    assert max(parts) <= 150
    assert sum(parts) == 600


def test_nothing_is_proposed_once_no_round_is_left():
    training = Training(0)
    assert not search(Following(made("race", 400), training.left), training.extend)


def test_what_is_reserved_is_not_used():
    training = Training(400)
    search(Following(made("random", 400), training.left, lambda effort: 150), training.extend)
    assert sum(training.rounds.values()) <= 400 - 150 + 60  # the first step counts with all


def test_a_strategy_keeps_its_starters_when_its_effort_changes():
    strategy = made("race", 400)
    begun = strategy.propose({})
    strategy.revise(200)
    assert (strategy.effort, strategy.propose({})) == (200, begun)
