"""The runs behind a plan: extended in the store, re-timed on its network, cut by its budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import replace

from floss_sim.records import RunFolder
from floss_sim.run import retime
from planner.cost import Costs
from planner.plan import Outcome, cut
from planner.request import Request
from planner.search import RUNGS, Curve, Extension, History
from planner.space import Candidate
from planner.store import CurveStore
from planner.workers import Job, test_all, train_all

Targets = dict[Candidate, tuple[int, ...]]
OnProgress = Callable[[str, int, int], None]


class Runs:
    """Trains what a search asks for, and keeps count.

    Attributes:
        asked: The furthest round that was asked for, by candidate; baselines not counted.
        trained: Rounds that were really trained since this object was made.
    """

    def __init__(
        self,
        request: Request,
        costs: Costs,
        store: CurveStore,
        executor: Executor,
        on_progress: OnProgress,
        expected: int,
    ) -> None:
        self.asked: dict[Candidate, int] = {}
        self.trained = 0
        self._request = request
        self._costs = costs
        self._store = store
        self._executor = executor
        self._on_progress = on_progress
        self._failed: set[Candidate] = set()
        self._waiting = [c for c in request.baselines().values() if c in costs.of]
        self._targets: dict[Candidate, int] = {}
        self._folders: dict[Candidate, RunFolder] = {}
        self._expected = expected + sum(costs.of[c].horizon for c in self._waiting)

    def extend(self, proposals: Sequence[Extension]) -> History:
        """Train what is proposed; return the curves of these candidates.

        The baselines run beside the first proposals, so that no worker idles.
        """
        for proposal in proposals:
            self.asked[proposal.candidate] = proposal.rounds
        targets: Targets = {p.candidate: (p.rounds,) for p in proposals}
        for candidate in self._waiting:
            horizon = self._costs.of[candidate].horizon
            targets[candidate] = tuple(math.ceil(horizon * rung) for rung in RUNGS)
        self._waiting = []
        self._train(targets)
        return {p.candidate: self.curve(p.candidate, p.rounds) for p in proposals}

    def finish(self, candidates: Iterable[Candidate], effort: int) -> None:
        """Extend finished runs by what their real bytes left of the budget.

        Args:
            candidates: Finished runs.
            effort: Rounds that may be asked for in all; baselines outside the search are free.
        """
        left = effort - sum(self.asked.values())
        growing = sorted(set(candidates))
        while growing:
            growth = {c: self._growth(c) for c in growing}
            growing = []
            for candidate, rounds in growth.items():
                counted = rounds if candidate in self.asked else 0
                if rounds and counted <= left:
                    left -= counted
                    growing.append(candidate)
            targets: Targets = {c: (self.outcome(c).rounds + growth[c],) for c in growing}
            for candidate in growing:
                if candidate in self.asked:
                    self.asked[candidate] += growth[candidate]
            self._train(targets)

    def _growth(self, candidate: Candidate) -> int:
        outcome = self.outcome(candidate)
        if self._folder(candidate).committed().rounds > outcome.rounds:
            return 0  # the stored run already goes past this budget
        affordable = int((1 - outcome.spent) / self._costs.of[candidate].most)
        return min(affordable, self._request.max_rounds - outcome.rounds)

    def _train(self, targets: Targets) -> None:
        """Train to the given rounds, the longest jobs first."""
        for candidate, rounds in targets.items():
            self._targets[candidate] = max(rounds[-1], self._targets.get(candidate, 0))
        order = sorted(targets, key=lambda c: -targets[c][-1])
        jobs: list[Job] = [(self._request.config(c), targets[c]) for c in order]
        for candidate, trained in zip(
            order, train_all(self._executor, self._store, jobs, self._report), strict=True
        ):
            self.trained += trained or 0
            if trained is None:
                self._failed.add(candidate)
        self._report()

    def _report(self) -> None:
        done = sum(
            min(target, self._folder(candidate).committed().rounds)
            for candidate, target in self._targets.items()
        )
        stage = f"training {len(self._targets)} candidates"
        self._on_progress(stage, done, max(done, self._expected))

    def _folder(self, candidate: Candidate) -> RunFolder:
        if candidate not in self._folders:
            self._folders[candidate] = self._store.folder(self._request.config(candidate))
        return self._folders[candidate]

    def curve(self, candidate: Candidate, rounds: int) -> Curve:
        """Return a candidate's curve up to the rounds that were asked for.

        What other searches have trained beyond them stays unseen, so that the same question gets
        the same answer.
        """
        rows = self._folder(candidate).record().evaluated().to_pylist()
        seen = [row for row in rows if row["round"] <= rounds]
        return Curve(
            evaluated=tuple(row["round"] for row in seen),
            accuracies=tuple(row["accuracy"] for row in seen),
            rounds=rounds,
            failed=candidate in self._failed,
        )

    def outcome(self, candidate: Candidate) -> Outcome:
        """Return a run's outcome within the budget, on the plan's network."""
        config = self._request.config(candidate)
        record = retime(config, self._folder(candidate).record(), self._request.profile)
        return cut(
            candidate, record, self._costs.limit, self._request.max_rounds, config.server.cohort
        )

    def finished(self) -> list[Candidate]:
        """Return the candidates, baselines included, that reached their horizon."""
        return sorted(
            candidate
            for candidate, target in self._targets.items()
            if target >= self._costs.of[candidate].horizon and candidate not in self._failed
        )

    def tested(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Return outcomes with their test accuracy, measured once and cached in the store."""
        jobs = [(self._request.config(o.candidate), o.rounds) for o in outcomes]
        accuracies = test_all(self._executor, self._store, jobs)
        return [
            replace(outcome, test_accuracy=accuracy)
            for outcome, accuracy in zip(outcomes, accuracies, strict=True)
        ]
