"""Search strategies behind one interface: what ``floss-plan --search`` can choose from.

Each is made from the same terms (see :class:`Terms`), is pure in the history and its seed, pauses
and resumes runs, never overspends the effort, and gives every candidate its own horizon. A strategy
of yours passes the same contract tests (``tests/contract/test_strategy_kit.py``) by one more entry
of ``STRATEGIES``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from floss_sim.errors import ConfigError
from planner.search import Strategy
from planner.space import Candidate
from planner.strategies.asha import Asha
from planner.strategies.at_random import AtRandom
from planner.strategies.flasc_search import FlascSearch
from planner.strategies.grid import Grid
from planner.strategies.halving import Halving
from planner.strategies.hyperband import Hyperband
from planner.strategies.optuna_search import OptunaSearch
from planner.strategies.race import Race
from planner.strategies.terms import Terms

__all__ = ["DEFAULT", "STRATEGIES", "BoundedStrategy", "Maker", "Terms", "maker"]


class BoundedStrategy(Strategy, Protocol):
    """A strategy that says how many rounds it takes at most, as predicted."""

    @property
    def expected(self) -> int:
        """Rounds that the search takes at most."""


Maker = Callable[
    [Mapping[Candidate, int], Mapping[Candidate, float], int, int, Callable[[int], int], int],
    BoundedStrategy,
]
"""Makes a strategy of the fields of :class:`Terms`, in their order."""

STRATEGIES: Mapping[str, Maker] = {
    "race": Race,
    "halving": Halving,
    "hyperband": Hyperband,
    "asha": Asha,
    "random": AtRandom,
    "grid": Grid,
    "optuna": OptunaSearch,
    "flasc-search": FlascSearch,
}


DEFAULT = "race"


def maker(name: str) -> Maker:
    """Return what makes the strategies of a name.

    Raises:
        ConfigError: There is none of that name; names the valid ones.
    """
    if name not in STRATEGIES:
        raise ConfigError(f"unknown search {name!r}; valid: {', '.join(STRATEGIES)}")
    return STRATEGIES[name]
