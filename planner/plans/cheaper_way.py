"""Cheaper way: a measured run that reaches most of a plan's accuracy with a share of its bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from planner.candidates import Candidate
from planner.forecasts.intervals import Interval

SHARES = (1 / 2, 1 / 4, 1 / 10)  # of the recommended plan's bytes


@dataclass(frozen=True)
class CheaperWay:
    """The best measured run within a share of the recommended plan's bytes.

    Attributes:
        share: Share of the plan's bytes that may be used, below 1.
        candidate: The trained candidate.
        rounds: Rounds of training.
        nbytes: Bytes of all transfers in these rounds.
        interval: Interval of the validation accuracy.
    """

    share: float
    candidate: Candidate
    rounds: int
    nbytes: int
    interval: Interval

    def to_json(self, cohort: int) -> dict[str, Any]:
        """Return the way as plain values.

        Args:
            cohort: Number of clients of a round.
        """
        return {
            **self.candidate.settings(),
            "share": self.share,
            "rounds": self.rounds,
            "bytes": self.nbytes,
            "bytes_per_client_round": self.nbytes / (self.rounds * cohort),
            "interval": self.interval.to_json(),
        }
