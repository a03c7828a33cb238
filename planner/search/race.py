"""The race: successive halving in two stages, with ranks by accuracy and by forecasts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from planner.curves import History
from planner.search.race_stage import RaceStage
from planner.search.scripted import EffortLedger, Script, ScriptedStrategy
from planner.search.strategy import Extension

FIRST_STAGE = 3  # the first stage has 1/3 of the effort
LEAST_RUN = 0.5  # average runs that the first stage must be worth, or there is none
FAVOURITE_RUNS = 2.0  # average runs: an effort below them goes to the favourite first
FAVOURITE_SHARE = 0.75  # of such an effort: the most that the favourite may take


@dataclass(frozen=True)
class Race(ScriptedStrategy):
    """Two stages of successive halving: one with a third of the effort, one with the whole.

    The first stage (see :class:`RaceStage`) finishes runs by a third of the effort, so that the
    second forecasts from whole curves, and a search that has little to gain can end. If a third of
    the effort is less than half an average run, there is one stage. A short dense run is finished
    beside the first runs: it seldom fails, and costs little.

    So a search of two average runs begins with short candidates, as a smaller one does (see
    :class:`RaceStage`). In one stage, its few starters are spread over all candidates, and it loses
    more than searches with less effort (experiments/search_benchmark).

    Decisions use only accuracies that the search has asked for. Curves that other searches have
    trained further therefore change nothing, and a search can be stopped and resumed at any point.

    **Prior over tasks.** What grids recorded on other tasks say
    (:mod:`planner.forecasts.task_prior`) is part of all forecasts, with a weight that is learned
    from the search's own curves. Its favourite is the first starter. An effort of less than
    ``FAVOURITE_RUNS`` average runs cannot compare long runs: there the favourite takes up to
    ``FAVOURITE_SHARE`` of it, and there is one stage.
    """

    def script(self) -> Script:
        """Run both stages, as long as there is something to gain."""
        ledger = EffortLedger(self)
        yield from ledger.ask(self._favourite_extensions())
        begun = sum(curve.rounds for curve in ledger.curves.values())
        beside = ledger.finishing_extensions(self.short_dense_candidates(), self.effort)
        for ledger.limit in [None] if begun else self._stage_efforts():
            stage = RaceStage(self, (ledger.limit or self.effort) - begun)
            yield from stage.script(ledger, beside)
            if stage.ranks.is_done(ledger):
                return

    def has_little_to_gain(
        self, history: History, effort: int | None = None, repeats: int = 0
    ) -> bool:
        """Return whether a run has finished that learned, and the rest promises little gain.

        Args:
            history: The curves so far.
            effort: Rounds that the whole search may take; by default those it was made with.
            repeats: Further seeds for which the effort must suffice, of each run that is finished.
        """
        stage, ledger = self._grown_stage(history, effort or self.effort, repeats)
        return stage.ranks.is_done(ledger)

    def further_extensions(
        self, history: History, effort: int, repeats: int = 0
    ) -> Sequence[Extension]:
        """Return the runs to extend after the search has ended, with an effort that has grown.

        They are those with which the finals would go on; empty if little is left to gain, or if the
        effort finishes no further run.

        Args:
            history: The curves so far.
            effort: Rounds that the whole search may take.
            repeats: Further seeds for which the effort must suffice, of each run that is finished.
        """
        stage, ledger = self._grown_stage(history, effort, repeats)
        return [] if stage.ranks.is_done(ledger) else next(stage.further_finals(ledger), [])

    def _grown_stage(
        self, history: History, effort: int, repeats: int
    ) -> tuple[RaceStage, EffortLedger]:
        """Return the last stage and the ledger of this search with another effort."""
        grown = replace(self, effort=effort)
        return RaceStage(grown, effort), EffortLedger(grown, dict(history), repeats=repeats)

    def _favourite_extensions(self) -> list[Extension]:
        """Return the run that the prior over tasks favours; empty without one.

        It is as long as its share of the effort allows, and the effort finishes another one. It is
        empty, too, if the effort is that of ``FAVOURITE_RUNS`` average runs or more.
        """
        most = min(int(FAVOURITE_SHARE * self.effort), self.effort - min(self.horizons.values()))
        if self.prior is None or most < 1 or not self._is_small:
            return []
        rounds = {c: self.snap(min(h, most)) for c, h in self.horizons.items()}
        favourite = self.prior.order(rounds)[0]
        return [Extension(favourite, rounds[favourite])]

    @property
    def _is_small(self) -> bool:
        """Whether the effort is so small that the prior's favourite has most of it."""
        return self.effort < FAVOURITE_RUNS * self.average_run

    def _stage_efforts(self) -> Iterator[int | None]:
        """Yield the effort of each stage in rounds; None for the last one, which has the whole."""
        first = self.effort // FIRST_STAGE
        if first >= max(LEAST_RUN * self.average_run, min(self.horizons.values())):
            yield first
        yield None
