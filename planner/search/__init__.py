"""Search strategies with a common interface: the choices of ``floss-plan --search``.

Every strategy is made from the same inputs (see :class:`SearchTerms`). Its proposals depend only on
the history and the seed. It pauses and resumes runs, never exceeds the effort, and trains every
candidate up to its own horizon. To add a strategy, add an entry to ``STRATEGIES``: the contract
tests (``tests/contract/test_strategy_kit.py``) then cover it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from floss_sim.errors import ConfigError
from planner.candidates import Candidate
from planner.forecasts.task_prior import TaskPrior
from planner.search.asha import Asha
from planner.search.async_race import AsyncRace
from planner.search.flasc_search import FlascSearch
from planner.search.following import RevisableStrategy
from planner.search.full_grid import FullGrid
from planner.search.halving import Halving
from planner.search.hyperband import Hyperband
from planner.search.optuna_search import OptunaSearch
from planner.search.race import Race
from planner.search.random_search import RandomSearch
from planner.search.terms import SearchTerms

__all__ = [
    "DEFAULT_SEARCH",
    "PRIOR_SEARCHES",
    "STRATEGIES",
    "BoundedStrategy",
    "SearchTerms",
    "StrategyMaker",
    "check_search",
    "strategy_maker",
]


class BoundedStrategy(RevisableStrategy, Protocol):
    """A strategy that predicts the most rounds that it will take."""

    @property
    def expected_rounds(self) -> int:
        """Most rounds that the search takes, as predicted."""


StrategyMaker = Callable[
    [
        Mapping[Candidate, int],
        Mapping[Candidate, float],
        int,
        int,
        Callable[[int], int],
        int,
        TaskPrior | None,
    ],
    BoundedStrategy,
]
"""Constructor of a strategy, called with the fields of :class:`SearchTerms` in their order."""

STRATEGIES: Mapping[str, StrategyMaker] = {
    "race": Race,
    "halving": Halving,
    "hyperband": Hyperband,
    "asha": Asha,
    "random": RandomSearch,
    "grid": FullGrid,
    "optuna": OptunaSearch,
    "flasc-search": FlascSearch,
    "async-race": AsyncRace,
}


DEFAULT_SEARCH = "race"
PRIOR_SEARCHES = ("race", "async-race")  # that use what grids of other tasks say


def check_search(name: str) -> None:
    """Raise ConfigError for an unknown strategy name; the message lists the valid names."""
    if name not in STRATEGIES:
        raise ConfigError(f"unknown search {name!r}; valid: {', '.join(STRATEGIES)}")


def strategy_maker(name: str) -> StrategyMaker:
    """Return the constructor of the strategy with a name.

    Raises:
        ConfigError: No strategy has this name; the message lists the valid names.
    """
    check_search(name)
    return STRATEGIES[name]
