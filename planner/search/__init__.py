"""Search strategies behind one interface: what ``floss-plan --search`` can choose from.

Each is made from the same terms (see :class:`SearchTerms`), is pure in the history and its seed,
pauses and resumes runs, never overspends the effort, and gives every candidate its own horizon. A
strategy of yours passes the same contract tests (``tests/contract/test_strategy_kit.py``) by one
more entry of ``STRATEGIES``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from floss_sim.errors import ConfigError
from planner.candidates import Candidate
from planner.search.asha import Asha
from planner.search.flasc_search import FlascSearch
from planner.search.full_grid import FullGrid
from planner.search.halving import Halving
from planner.search.hyperband import Hyperband
from planner.search.optuna_search import OptunaSearch
from planner.search.race import Race
from planner.search.random_search import RandomSearch
from planner.search.strategy import Strategy
from planner.search.terms import SearchTerms

__all__ = [
    "DEFAULT_SEARCH",
    "STRATEGIES",
    "BoundedStrategy",
    "SearchTerms",
    "StrategyMaker",
    "check_search",
    "strategy_maker",
]


class BoundedStrategy(Strategy, Protocol):
    """A strategy that says how many rounds it takes at most, as predicted."""

    @property
    def expected_rounds(self) -> int:
        """Rounds that the search takes at most."""


StrategyMaker = Callable[
    [Mapping[Candidate, int], Mapping[Candidate, float], int, int, Callable[[int], int], int],
    BoundedStrategy,
]
"""Makes a strategy of the fields of :class:`SearchTerms`, in their order."""

STRATEGIES: Mapping[str, StrategyMaker] = {
    "race": Race,
    "halving": Halving,
    "hyperband": Hyperband,
    "asha": Asha,
    "random": RandomSearch,
    "grid": FullGrid,
    "optuna": OptunaSearch,
    "flasc-search": FlascSearch,
}


DEFAULT_SEARCH = "race"


def check_search(name: str) -> None:
    """Raise ConfigError unless there is a strategy of a name; names the valid ones."""
    if name not in STRATEGIES:
        raise ConfigError(f"unknown search {name!r}; valid: {', '.join(STRATEGIES)}")


def strategy_maker(name: str) -> StrategyMaker:
    """Return what makes the strategies of a name.

    Raises:
        ConfigError: There is none of that name; names the valid ones.
    """
    check_search(name)
    return STRATEGIES[name]
