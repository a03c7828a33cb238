"""Rounds that candidates afford by the real bytes of their first rounds."""

from __future__ import annotations

import math

from floss_sim.runs.calibration import Calibration, calibration_rounds
from planner.candidates import Candidate
from planner.execution.candidate_records import CandidateRecords
from planner.execution.curve_store import last_evaluated_round
from planner.question.cost import Costs

_LEAST_ROUNDS = 5  # fewer do not predict the bytes of later rounds


class RealHorizons:
    """Horizons of runs: predicted ones, corrected by real bytes once these are known.

    Args:
        costs: Predicted costs.
        records: What the runs have recorded.
    """

    def __init__(self, costs: Costs, records: CandidateRecords) -> None:
        self._costs = costs
        self._records = records
        self._calibrations: dict[Candidate, Calibration] = {}
        self._first: dict[Candidate, int] = {}  # rounds trained when a calibration was made
        self._horizons: dict[Candidate, int] = {}

    def note(self, candidate: Candidate, asked: int) -> None:
        """Correct a candidate's horizon by the real bytes of its first third, once asked for."""
        rounds = last_evaluated_round(math.ceil(self._costs.of[candidate].horizon / 3))
        if candidate in self._horizons or asked < rounds or rounds < _LEAST_ROUNDS:
            return
        made = self._records.calibration(candidate, calibration_rounds(rounds))
        self._calibrations[candidate], self._first[candidate] = made, rounds
        self._horizons[candidate] = self._costs.rounds(candidate, made)

    def real(self, candidate: Candidate) -> int | None:
        """Return the rounds that a candidate affords by real bytes; None before they are known."""
        return self._horizons.get(candidate)

    def rounds(self, candidate: Candidate) -> int:
        """Return the rounds that a candidate affords, by real bytes once they are known."""
        return self._horizons.get(candidate, self._costs.of[candidate].horizon)

    def shorter(self, candidate: Candidate) -> int:
        """Return the last round of a whole run: by predicted or real bytes, the smaller one."""
        rounds = min(self.rounds(candidate), self._costs.of[candidate].horizon)
        return last_evaluated_round(max(1, rounds))

    def values(self, candidate: Candidate, finished: int | None) -> dict[str, float]:
        """Return a candidate's ratios of real to predicted bytes, and the rounds that it affords.

        Args:
            candidate: The candidate.
            finished: Last round of a finished run, which also has the relative error of these
                ratios in its later rounds; None for another.
        """
        made = self._calibrations.get(candidate)
        if made is None:
            return {}
        told = {
            "down_calibration": made.down,
            "up_calibration": made.up,
            "calibrated_rounds": self.rounds(candidate),
        }
        first = self._first[candidate]
        if finished is not None and finished > first:
            later = range(first + 1, finished + 1)
            error = made.error(self._records.calibration(candidate, later))
            told |= {"down_error": error.down, "up_error": error.up}
        return told
