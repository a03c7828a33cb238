"""Inputs of a search, common to all strategies: horizons, predicted bytes, effort, seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from floss_sim.errors import BudgetError
from floss_sim.rng import stream
from planner.candidates import Candidate
from planner.curves import Curve, History
from planner.forecasts.task_prior import TaskPrior

SHORT = 6  # a run is short if it takes at most 1/6 of an average one, and of the effort


@dataclass(frozen=True)
class SearchTerms:
    """Inputs of a search: horizon and bytes of each candidate, total effort, seed.

    Attributes:
        horizons: Rounds that the budget affords each candidate, as predicted without training.
        nbytes: Predicted bytes of each candidate's whole run; ties go to fewer bytes.
        effort: Rounds of training that the whole search may take; never exceeded. It changes only
            by :meth:`revise`.
        seed: Seed of every random draw.
        snap: Function that lowers a round to the last one at which runs are evaluated.
        examples: Validation examples behind every accuracy.
        prior: What other tasks say of this one; None for nothing.
    """

    horizons: Mapping[Candidate, int]
    nbytes: Mapping[Candidate, float]
    effort: int
    seed: int = 0
    snap: Callable[[int], int] = int
    examples: int = 350
    prior: TaskPrior | None = None

    @property
    def expected_rounds(self) -> int:
        """Most rounds that the search takes, as predicted."""
        return self.effort

    def revise(self, effort: int) -> None:
        """Change the effort of a search that is under way.

        Steps already taken stay, and so do starters; later decisions are made with the new effort.
        """
        object.__setattr__(self, "effort", effort)

    def check_affordable(self) -> None:
        """Raise BudgetError if the effort cannot finish any candidate."""
        self.finishable_candidates(list(self.horizons))

    def affordable_candidates(self) -> list[Candidate]:
        """Return the candidates that the effort can finish, in random order drawn by the seed.

        Raises:
            BudgetError: The effort cannot finish any; the message gives the shortest run's rounds.
        """
        order = sorted(self.horizons)
        stream(self.seed, "starters").shuffle(order)
        return self.finishable_candidates(order)

    def finishable_candidates(self, order: Sequence[Candidate]) -> list[Candidate]:
        """Return those candidates of ``order`` that the effort can finish, in the same order.

        Raises:
            BudgetError: The effort cannot finish any; the message gives the shortest run's rounds.
        """
        fits = [c for c in order if self.horizons[c] <= self.effort]
        if not fits:
            raise BudgetError(
                f"the search effort of {self.effort} rounds finishes no run: the shortest takes "
                f"{min(self.horizons.values())} rounds; raise --effort"
            )
        return fits

    def horizon(self, candidate: Candidate, curve: Curve) -> int:
        """Return the rounds that the budget affords a candidate: by real bytes, else predicted."""
        return curve.horizon or self.horizons[candidate]

    def finish_round(self, candidate: Candidate, curve: Curve) -> int:
        """Return the round at which a run counts as finished.

        This is the shorter of the predicted horizon, for which the effort was planned, and the
        horizon by real bytes.
        """
        return self.snap(min(self.horizons[candidate], self.horizon(candidate, curve)))

    def finished_candidates(self, history: History) -> list[Candidate]:
        """Return the candidates with finished runs: only these may be recommended."""
        return sorted(
            candidate
            for candidate, curve in history.items()
            if curve.rounds >= self.finish_round(candidate, curve) and not curve.failed
        )

    def sort_key(self, candidate: Candidate, accuracy: float) -> tuple[float, float, Candidate]:
        """Return the sort key of a candidate: higher accuracy, then fewer bytes, then fields."""
        return -accuracy, self.nbytes[candidate], candidate

    @property
    def average_run(self) -> float:
        """Mean number of rounds of a whole run."""
        return fmean(self.horizons.values())

    def short_dense_candidates(self) -> list[Candidate]:
        """Return the densest candidate whose whole run is short; empty if none is.

        A short run takes at most 1/``SHORT`` of an average one, and of the effort. Of equally dense
        candidates, the one with the longest run is returned.
        """
        most = min(self.effort, self.average_run) / SHORT
        short = [c for c, horizon in self.horizons.items() if horizon <= most]
        density = {c: c.down_density * c.up_density for c in short}
        return sorted(short, key=lambda c: (-density[c], -self.horizons[c], c))[:1]
