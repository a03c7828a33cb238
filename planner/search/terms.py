"""The terms of a search, which every strategy is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from floss_sim.errors import BudgetError
from floss_sim.rng import stream
from planner.candidates import Candidate
from planner.curves import Curve, History


@dataclass(frozen=True)
class SearchTerms:
    """What may be spent on whom.

    Attributes:
        horizons: Rounds that the budget affords each candidate, as predicted without training.
        nbytes: Predicted bytes of a whole run; breaks ties towards fewer.
        effort: Rounds of training that may be spent; never exceeded.
        seed: Names every random draw.
        snap: Rounds a target down to one at which runs are evaluated.
        examples: Validation examples behind every accuracy.
    """

    horizons: Mapping[Candidate, int]
    nbytes: Mapping[Candidate, float]
    effort: int
    seed: int = 0
    snap: Callable[[int], int] = int
    examples: int = 350

    @property
    def expected_rounds(self) -> int:
        """Rounds that the search takes at most, as predicted."""
        return self.effort

    def check_affordable(self) -> None:
        """Raise BudgetError if the effort finishes no candidate."""
        self.finishable_candidates(list(self.horizons))

    def affordable_candidates(self) -> list[Candidate]:
        """Return the candidates that the effort finishes, in an order that the seed draws.

        Raises:
            BudgetError: It finishes none; says what the shortest takes.
        """
        order = sorted(self.horizons)
        stream(self.seed, "starters").shuffle(order)
        return self.finishable_candidates(order)

    def finishable_candidates(self, order: Sequence[Candidate]) -> list[Candidate]:
        """Return those of some candidates that the effort finishes, in their order.

        Raises:
            BudgetError: It finishes none; says what the shortest takes.
        """
        fits = [c for c in order if self.horizons[c] <= self.effort]
        if not fits:
            raise BudgetError(
                f"an effort of {self.effort} rounds finishes no run, the shortest takes "
                f"{min(self.horizons.values())}; raise --effort"
            )
        return fits

    def horizon(self, candidate: Candidate, curve: Curve) -> int:
        """Return the rounds that the budget affords a candidate, as far as is known."""
        return curve.horizon or self.horizons[candidate]

    def finish_round(self, candidate: Candidate, curve: Curve) -> int:
        """Return the round at which a run counts as finished.

        That is the shorter of the predicted horizon, which the effort was planned for, and the one
        by real bytes.
        """
        return self.snap(min(self.horizons[candidate], self.horizon(candidate, curve)))

    def finished_candidates(self, history: History) -> list[Candidate]:
        """Return the candidates whose runs are finished: only these may be recommended."""
        return sorted(
            candidate
            for candidate, curve in history.items()
            if curve.rounds >= self.finish_round(candidate, curve) and not curve.failed
        )

    def sort_key(self, candidate: Candidate, accuracy: float) -> tuple[float, float, Candidate]:
        """Return the key by which candidates are sorted: accuracy, then fewer bytes, then name."""
        return -accuracy, self.nbytes[candidate], candidate
