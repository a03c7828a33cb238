"""Asynchronous strategies: what to train next when a worker is free, while other runs train.

A strategy of :mod:`planner.search.strategy` proposes runs and waits for all of them. With many
workers most of them then wait for the slowest run. An asynchronous strategy decides each time that
a worker is free, from the curves that are known by then and the runs that train. It is a pure
function as well, and trains nothing: the same answers in the same order give the same search. The
order of a search is recorded as its :class:`Step` values, by which :class:`RecordedOrder` repeats
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from floss_sim.errors import PlanError
from planner.candidates import Candidate
from planner.curves import Curve, History
from planner.search.strategy import Extension


class AsyncStrategy(Protocol):
    """Interface of an asynchronous search strategy."""

    def next_extension(
        self, history: History, running: Mapping[Candidate, int]
    ) -> Extension | None:
        """Return the run that a free worker should extend; None to wait.

        The search ends where nothing is running and the result is None. The result depends on the
        arguments only.

        Args:
            history: The curves of all answers so far.
            running: The last round of each run that is being extended.
        """


class AsyncRuns(Protocol):
    """Trains the runs of an asynchronous search."""

    def begin(self, extension: Extension) -> None:
        """Begin to train a run."""

    def answers(self) -> History:
        """Wait until at least one of the begun runs is trained; return the curves of these."""


@dataclass(frozen=True)
class Step:
    """One extension of an asynchronous search, in the order of begin.

    Attributes:
        candidate: The candidate.
        rounds: Last round of the extension.
        after: Number of answers that were known when it began.
        answered: Its number among the answers, from 1; None if it was not answered.
    """

    candidate: Candidate
    rounds: int
    after: int
    answered: int | None = None


class Order(Protocol):
    """Order of an asynchronous search: when a run begins, and which answers come next."""

    def may_begin(self, begun: int, answers: int, running: int) -> bool:
        """Return whether another run may begin now.

        Args:
            begun: Runs that have begun so far.
            answers: Answers that are known.
            running: Runs that are being extended.
        """

    def take(self, arrived: Mapping[Candidate, Curve], begun: int, answers: int) -> list[Candidate]:
        """Return those of the arrived answers to tell the strategy now, in their order.

        Args:
            arrived: Curves that have arrived and were not told yet.
            begun: Runs that have begun so far.
            answers: Answers that the strategy knows.
        """


@dataclass(frozen=True)
class FreeWorkers:
    """The order of a new search: a run begins if a worker is free; answers count as they come.

    Attributes:
        workers: Runs that train at once.
    """

    workers: int

    def may_begin(self, begun: int, answers: int, running: int) -> bool:
        """Return whether a worker is free."""
        return running < self.workers

    def take(self, arrived: Mapping[Candidate, Curve], begun: int, answers: int) -> list[Candidate]:
        """Return all answers that have arrived."""
        return list(arrived)


@dataclass(frozen=True)
class RecordedOrder:
    """The order of an earlier search.

    Attributes:
        steps: Its steps.
    """

    steps: Sequence[Step]

    def may_begin(self, begun: int, answers: int, running: int) -> bool:
        """Return whether the next step began after as many answers."""
        return begun < len(self.steps) and self.steps[begun].after == answers

    def take(self, arrived: Mapping[Candidate, Curve], begun: int, answers: int) -> list[Candidate]:
        """Return the answers that came before the next step began, as far as they are there."""
        places = {s.answered: s.candidate for s in self.steps[:begun] if s.answered is not None}
        last = self.steps[begun].after if begun < len(self.steps) else len(self.steps)
        taken: list[Candidate] = []
        for number in range(answers + 1, last + 1):
            if (candidate := places.get(number)) is None or candidate not in arrived:
                break
            taken.append(candidate)
        return taken


class AsyncSearch:
    """An asynchronous search under way: its curves, its running extensions and its steps.

    Attributes:
        history: The curves of all answers so far.
        running: The last round of each run that is being extended.
        steps: The steps so far, in the order of begin.
    """

    def __init__(self, strategy: AsyncStrategy, runs: AsyncRuns, order: Order) -> None:
        self.history: dict[Candidate, Curve] = {}
        self.running: dict[Candidate, int] = {}
        self.steps: list[Step] = []
        self._strategy = strategy
        self._runs = runs
        self._order = order
        self._answers = 0
        self._arrived: dict[Candidate, Curve] = {}

    def finish(self) -> History:
        """Search until nothing is running and nothing is to begin; return all curves.

        Raises:
            PlanError: The search departs from the order that was recorded.
        """
        while True:
            self._begin_runs()
            if not self.running:
                return self.history
            self._hear_answers()

    def _begin_runs(self) -> None:
        """Begin runs as long as the order allows and the strategy has one."""
        while self._order.may_begin(len(self.steps), self._answers, len(self.running)):
            extension = self._strategy.next_extension(self.history, self.running)
            if extension is None:
                break
            self.steps.append(Step(extension.candidate, extension.rounds, self._answers))
            self.running[extension.candidate] = extension.rounds
            self._runs.begin(extension)

    def _hear_answers(self) -> None:
        """Take the next answers; wait for them if they have not arrived."""
        while not (taken := self._order.take(self._arrived, len(self.steps), self._answers)):
            if len(self._arrived) == len(self.running):
                raise PlanError("the search departs from its recorded order of answers")
            self._arrived |= self._runs.answers()
        for candidate in taken:
            self.history[candidate] = self._arrived.pop(candidate)
            rounds = self.running.pop(candidate)
            self._answers += 1
            self._note_answer(candidate, rounds)

    def _note_answer(self, candidate: Candidate, rounds: int) -> None:
        """Note the number of an answer in its step."""
        at = next(
            i for i in range(len(self.steps) - 1, -1, -1)
            if (self.steps[i].candidate, self.steps[i].rounds) == (candidate, rounds)
        )  # fmt: skip
        self.steps[at] = Step(candidate, rounds, self.steps[at].after, self._answers)
