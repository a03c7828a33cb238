"""The asynchronous race: a free worker trains what ranks by accuracy and by forecasts favour."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

from planner.candidates import Candidate
from planner.curves import Curve, History
from planner.forecasts.forecast import Forecast, backtest
from planner.forecasts.smoothing import smoothed_accuracy
from planner.search.race_stage import RaceStage
from planner.search.run_ranks import RunRanks, evaluated_candidates
from planner.search.running_effort import GOING_ON, PAUSE, RunningEffort, rung_round
from planner.search.scripted import EffortLedger
from planner.search.strategy import Extension
from planner.search.terms import SearchTerms

FIRST_SHARE = Fraction(1, 3)  # of the effort, whose starters are begun before finals count
_KEPT = (Fraction(1, 3), Fraction(1, 3), Fraction(1, 3), GOING_ON)  # that goes on, by rung
_FINALS = 2  # index of the rung from which on runs are ranked by mean plus one deviation
_LATE = 1 / 2  # of a final's rounds, that the others must have left to do
_IDLE = 1 / 4  # fraction of the workers that is idle where a search has begun to end
_BLOCKS = (4, 6, 9, 14, 21, 32, 48)  # starters whose first rungs forecasts use, at most


@dataclass(frozen=True)
class Insight:
    """What the curves say of all candidates.

    Attributes:
        weight: Weight of the forecasts' rank, 0 to 1, by a backtest.
        forecasts: Forecast accuracy of each candidate at its horizon; empty without a curve.
    """

    weight: float
    forecasts: Mapping[Candidate, Forecast]


@dataclass(frozen=True)
class AsyncRace(SearchTerms):
    """The race without batches: each free worker takes the next run that is worth it.

    It is ASHA (Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020) with
    the ranks of the race: by accuracy at a rung, and by the accuracy forecast at each candidate's
    own horizon. A free worker takes the first of these that the effort allows:

    1. a run that is among the best third of those that have reached its rung, highest rung first;
       at the pause of the finals, among the best two thirds;
    2. a candidate without a run: starters in a space-filling order, then newcomers with the best
       forecasts, as many as a stage of the race with a third of the effort begins;
    3. of all other runs and candidates, the one with the best forecast, as in the finals of the
       race, unless a run has finished and the rest promises little gain.

    **Effort.** Runs that train count with all rounds that they were begun for. Until a run has
    finished without a fall, the effort always suffices to finish the leader, whichever of the runs
    that train it turns out to be. What running finals are expected to need yet is not given to
    others.

    A decision depends on the curves and the running extensions alone, not on how they came about.
    Forecasts use the first rungs of the first starters, in blocks that grow by half, and all runs
    beyond the first rung. Hyper-parameters are fitted on these starters and the finished runs. So
    most answers change no forecast, and few need a new fit.

    **Its end.** A run that is extended last leaves all other workers idle. Once a run has finished,
    another one goes on towards its end only if the rounds that are left occupy each worker for half
    as long, or if a run that trains still needs twice as long. A search that has begun to end, so
    that a quarter of the workers is idle, goes on only for twice the gain.

    Attributes:
        workers: Runs that train at once.
    """

    workers: int = 1
    _weights: dict[tuple[object, ...], float] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _insights: dict[tuple[object, ...], Insight] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _stages: dict[int, RaceStage] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        self.check_affordable()

    def propose(self, history: History) -> Sequence[Extension]:
        """Return the run that a single worker would extend next; empty to stop."""
        extension = self.next_extension(history, {})
        return [extension] if extension else []

    def next_extension(
        self, history: History, running: Mapping[Candidate, int]
    ) -> Extension | None:
        """Return the run that a free worker should extend; None to wait, or to stop."""
        return _Standing(self, history, running).next_extension()

    def has_little_to_gain(self, history: History) -> bool:
        """Return whether a run has finished that learned, and the rest promises little gain."""
        return _Standing(self, history, {}).is_done()

    @property
    def stage(self) -> RaceStage:
        """The stage of a race whose starters are begun before finals count."""
        effort = self.effort
        if effort not in self._stages:
            first = max(math.floor(FIRST_SHARE * effort), min(self.horizons.values()))
            self._stages.clear()
            self._stages[effort] = RaceStage(self, first)
        return self._stages[effort]

    def insight(self, history: History) -> Insight:
        """Return what curves say of all candidates."""
        first = self._first_rungs(history)
        further = {c: k for c, k in history.items() if k.rounds >= rung_round(self, c, k, 1)}
        whole = {c: history[c] for c in self.finished_candidates(history)}
        known = _evaluated_curves(first | further) or _evaluated_curves(history)
        learned = _evaluated_curves(first | whole) or known
        key = tuple(sorted(known.items())), tuple(sorted(learned.items()))
        if key not in self._insights:
            ends = {c: self.horizon(c, known.get(c, Curve())) for c in self.horizons}
            made = self.stage.ranks.forecast(known, ends, learned) if known else {}
            self._insights.clear()
            self._insights[key] = Insight(self._weight(learned), made)
        return self._insights[key]

    def _first_rungs(self, history: History) -> dict[Candidate, Curve]:
        """Return the first rungs of the first starters, as far as all of them have reached it."""
        ends = {c: rung_round(self, c, Curve(), 0) for c in self.stage.spread[: _BLOCKS[-1]]}
        lacking = (i for i, (c, end) in enumerate(ends.items()) if _rounds(history, c) < end)
        reached = next(lacking, len(ends))
        block = max((size for size in _BLOCKS if size <= reached), default=0)
        return {c: history[c].until(end) for c, end in list(ends.items())[:block]}

    def _weight(self, learned: History) -> float:
        """Return the weight of forecasts that a backtest on these curves gives, 0 to 1."""
        key = tuple(sorted(learned.items()))
        if key not in self._weights:
            ledger = EffortLedger(self, dict(learned))
            trials = self.stage.ranks.trials_from_a_third(ledger, learned)
            self._weights[key] = backtest([trials])
        return self._weights[key]


def _rounds(history: History, candidate: Candidate) -> int:
    return history[candidate].rounds if candidate in history else 0


def _evaluated_curves(curves: History) -> dict[Candidate, Curve]:
    return {c: curve for c, curve in curves.items() if curve.evaluated and not curve.failed}


class _Standing:
    """What is known when a worker is free: curves, running extensions, the effort that is left."""

    def __init__(self, race: AsyncRace, history: History, running: Mapping[Candidate, int]) -> None:
        self._race = race
        self._history = history
        self._running = running
        self._begun = history.keys() | running.keys()
        self._effort = RunningEffort(race, history, running)
        self._alive = evaluated_candidates(self._effort.ledger, history)

    def next_extension(self) -> Extension | None:
        """Return the run that a free worker should extend; None to wait, or to stop."""
        if self.is_done():
            return None
        for way in (self._short_dense_runs, self._promotions, self._newcomers):
            for extension in way():
                if not self._is_late(extension.candidate) and self._affords(extension):
                    return extension
        return self._final()

    def _short_dense_runs(self) -> Iterator[Extension]:
        """Yield a short dense run to finish, as in the race."""
        for c in self._race.short_dense_candidates():
            if c not in self._begun:
                yield Extension(c, self._race.snap(self._race.horizons[c]))

    def _promotions(self) -> Iterator[Extension]:
        """Yield the runs among the best of a rung that have not gone on, highest rung first."""
        reached = {c: self._effort.rung(c) for c in self._history}
        for rung in range(PAUSE, -1, -1):
            most = math.floor(sum(at >= rung for at in reached.values()) * _KEPT[rung])
            waiting = {c for c in self._alive if reached[c] == rung and c not in self._running}
            if most and waiting:
                ranked = self._ranked_at(rung, [c for c in self._alive if reached[c] >= rung])
                yield from (self._extension(c) for c in ranked[:most] if c in waiting)

    def _newcomers(self) -> Iterator[Extension]:
        """Yield candidates without a run, as many as the first rung of a stage takes."""
        stage = self._race.stage
        if len(self._begun) < stage.most_begun:
            fresh = [c for c in stage.spread if c not in self._begun]
            starters = [c for c in fresh if c in stage.starters]
            for c in starters or self._liked(fresh):
                yield Extension(c, self._effort.ledger.target(c, 0))

    def _liked(self, fresh: Sequence[Candidate]) -> Sequence[Candidate]:
        """Return candidates without a run, best forecast first if the curves tell something."""
        risen = any(self._ranks.rises(self._effort.curve(c)) for c in self._alive)
        if not risen or not self._insight.weight or not self._insight.forecasts:
            return fresh
        nbytes, made = self._race.nbytes, self._insight.forecasts
        return sorted(fresh, key=lambda c: (-made[c].mean, nbytes[c], c))

    def _final(self) -> Extension | None:
        """Return the run or candidate, of those that wait, to be trained towards its end."""
        spread = [c for c in self._race.stage.spread if c not in self._begun]
        others = [c for c in sorted(self._race.horizons) if c not in self._begun]
        waiting = [c for c in self._alive if c not in self._running]
        if self._insight.weight and self._insight.forecasts:
            order = sorted([*waiting, *others], key=lambda c: (-self._hope(c), c))
        else:
            order = [*self._ranked_at(_FINALS, waiting), *dict.fromkeys([*spread, *others])]
        able = [c for c in order if self._effort.missing(c) and not self._is_late(c)]
        for spare in (True, False):
            for c in able:
                extension = self._extension(c)
                if self._affords(extension, spare=spare):
                    return extension
        return None

    def _extension(self, candidate: Candidate) -> Extension:
        """Return a run's extension to its next rung, or to its end, by real bytes if affordable."""
        extension = self._effort.next_extension(candidate)
        at_end = extension.rounds == self._race.finish_round(
            candidate, self._effort.curve(candidate)
        )
        longer = Extension(candidate, self._effort.ledger.target(candidate, -1))
        fits = at_end and longer.rounds > extension.rounds and self._affords(longer)
        return longer if fits else extension

    def _is_late(self, candidate: Candidate) -> bool:
        """Return whether a run would train on alone, after all others have ended.

        A run that pauses in the finals is not late.
        """
        if not self._has_sound_finish or self._effort.rung(candidate) == PAUSE:
            return False
        each = (self._effort.left + self._effort.begun / 2) / self._race.workers
        longest = self._effort.longest_missing()
        return self._effort.missing(candidate) > max(each / _LATE, _LATE * longest)

    def is_done(self) -> bool:
        """Return whether a run has finished that learned, and the rest promises little gain.

        It is the rule of :meth:`planner.search.run_ranks.RunRanks.is_done`, by this search's own
        forecasts.
        """
        ledger, finished = self._effort.ledger, self._race.finished_candidates(self._history)
        if not self._ranks.has_learned(ledger, finished) or not self._insight.forecasts:
            return False
        missing = {
            c: self._effort.missing(c)
            for c in self._race.horizons
            if c not in finished and not self._effort.curve(c).failed
        }
        made = self._insight.forecasts
        best = max(made[c].mean for c in finished)
        idle = self._race.workers - 1 - len(self._running)
        factor = 2 if idle > _IDLE * self._race.workers else 1
        return self._ranks.is_gain_small(made, missing, best, ledger.effort_left, factor)

    def _affords(self, extension: Extension, *, spare: bool = True) -> bool:
        """Return whether the effort suffices for an extension, and for what is kept.

        Args:
            extension: The extension.
            spare: Whether enough is kept to finish another run if this one's accuracy falls.
        """
        if not self._effort.affords(extension):
            return False
        if self._has_sound_finish:
            return True
        others = self._sound_candidates if spare else ()
        return self._effort.affords_leader(extension, self._leader, others)

    def _ranked_at(self, rung: int, pool: Sequence[Candidate]) -> list[Candidate]:
        """Return runs, best first by accuracy at a rung and forecasts at their horizons."""
        made = self._insight.forecasts
        hoped = {c: self._hope(c) if rung >= _FINALS else made[c].mean for c in pool}
        seen = {c: self._seen(c, rung) for c in pool}
        return self._ranks.blended(seen, hoped, self._insight.weight)

    def _hope(self, candidate: Candidate) -> float:
        """Return one deviation above the forecast accuracy of a candidate."""
        made = self._insight.forecasts[candidate]
        return made.mean + made.sd

    def _seen(self, candidate: Candidate, rung: int) -> float:
        """Return a run's smoothed accuracy at the end of a rung."""
        curve = self._effort.curve(candidate)
        rounds = max(curve.evaluated[0], rung_round(self._race, candidate, curve, rung))
        return smoothed_accuracy(curve.evaluated, curve.accuracies, rounds)

    @property
    def _ranks(self) -> RunRanks:
        return self._race.stage.ranks

    @cached_property
    def _insight(self) -> Insight:
        return self._race.insight(self._history)

    @cached_property
    def _has_sound_finish(self) -> bool:
        return self._ranks.has_sound_finish(self._effort.ledger)

    @cached_property
    def _sound_candidates(self) -> list[Candidate]:
        """Candidates of the stage, begun or not, whose accuracy has not fallen."""
        return [
            c for c in self._race.stage.spread if not self._ranks.is_lost(self._effort.curve(c))
        ]

    @cached_property
    def _leader(self) -> list[Candidate]:
        """The best unfinished run that the effort can finish; empty if there is none."""
        missing = {c: self._effort.missing(c) for c in self._alive}
        able = [c for c, rounds in missing.items() if 0 < rounds <= self._effort.left]
        return self._ranked_at(_FINALS, able)[:1] if able else []
