"""Records of a plan's candidates: read from the store, re-timed, and cut at the budget."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate

from floss_sim.analysis.traffic import Traffic
from floss_sim.records import RunFolder, RunRecord
from floss_sim.runs.calibration import Calibration
from floss_sim.runs.retiming import retime
from planner.candidates import Candidate
from planner.curves import Curve
from planner.execution.curve_store import CurveStore, last_evaluated_round
from planner.plans.outcome import FALL, Outcome, outcome_within
from planner.question.cost import Costs
from planner.question.request import Request


class CandidateRecords:
    """What the runs of a request's candidates have recorded, with the request's seed.

    Args:
        request: The request.
        costs: Predicted costs of its candidates, and the budget's limit.
        store: Where the runs are.
    """

    def __init__(self, request: Request, costs: Costs, store: CurveStore) -> None:
        self._request = request
        self._costs = costs
        self._store = store
        self._folders: dict[Candidate, RunFolder] = {}
        self._outcomes: dict[tuple[Candidate, int], Outcome | None] = {}
        self._timed: dict[Candidate, RunRecord] = {}
        self._curves: dict[tuple[Candidate, int], Curve] = {}  # of runs that reached the round

    def folder(self, candidate: Candidate) -> RunFolder:
        """Return the folder of a candidate's run, which may not exist yet."""
        if candidate not in self._folders:
            self._folders[candidate] = self._store.folder(self._request.config(candidate))
        return self._folders[candidate]

    def committed(self, candidate: Candidate) -> int:
        """Return the number of rounds that a candidate's run has committed."""
        return self.folder(candidate).manifest().rounds

    def curve(self, candidate: Candidate, rounds: int) -> Curve:
        """Return the curve up to these rounds; cache it once the run has reached them."""
        if (candidate, rounds) in self._curves:
            return self._curves[candidate, rounds]
        curve = curve_of(self.folder(candidate), rounds)
        if self.committed(candidate) >= rounds:
            self._curves[candidate, rounds] = curve
        return curve

    def calibration(self, candidate: Candidate, rounds: range) -> Calibration:
        """Return the ratio of real to predicted bytes in the given rounds of a run."""
        real = Traffic.of(self.folder(candidate).record())
        return real.calibration(self._costs.predicted_traffic(candidate), rounds)

    def timed(self, candidate: Candidate) -> RunRecord:
        """Return a candidate's run, re-timed on the plan's network, with all stored rounds."""
        known = self._timed.get(candidate)
        if known is None or known.rounds.num_rows != self.committed(candidate):
            work = self._request.config(candidate).work
            known = retime(self.folder(candidate).record(), self._request.profile, work)
            self._timed[candidate] = known
        return known

    def total_bytes(self, candidate: Candidate) -> list[int]:
        """Return the bytes of all transfers of a run up to rounds 1, 2, ... on this network."""
        rounds = self.timed(candidate).rounds
        columns = (rounds[name].to_pylist() for name in ("down_bytes", "up_bytes"))
        return list(accumulate(down + up for down, up in zip(*columns, strict=True)))

    def cut(self, candidate: Candidate, last: int) -> Outcome | None:
        """Return a run's outcome within the budget, up to round ``last``, on the plan's network.

        None if the budget affords no evaluated round.
        """
        config = self._request.config(candidate)
        cap = last_evaluated_round(self._request.max_rounds)
        return outcome_within(
            candidate, self.timed(candidate), self._costs.limit, last, cap, config.server.cohort
        )

    def outcome(self, candidate: Candidate, last: int) -> Outcome | None:
        """Return a run's outcome as :meth:`cut` does, at its highest accuracy if that fell."""
        if (candidate, last) not in self._outcomes:
            self._outcomes[candidate, last] = self._before_fall(self.cut(candidate, last))
        return self._outcomes[candidate, last]

    def _before_fall(self, outcome: Outcome | None) -> Outcome | None:
        examples = self._request.prediction_counts()["validation"]
        peak = outcome.peak_round(examples) if outcome else None
        if outcome is None or peak is None:
            return outcome
        sound = self.cut(outcome.candidate, peak)
        return replace(sound, binds=FALL) if sound else None


def curve_of(folder: RunFolder, rounds: int) -> Curve:
    """Return the learning curve of a run up to some rounds."""
    rows = folder.record().evaluated().to_pylist()
    seen = [row for row in rows if row["round"] <= rounds]
    evaluated = tuple(row["round"] for row in seen)
    return Curve(evaluated, tuple(row["accuracy"] for row in seen), rounds)
