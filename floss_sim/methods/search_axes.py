"""Search axes of the methods: what a search of configurations varies in each of them.

An axis is the rank, a density, or a number that only some methods have, such as Ravan's heads. The
axes of a method follow from the options of its function in the catalog, so that a new method can be
searched as it is. A line of ``SEARCH_AXES`` adds default values of numbers, and ranks where a rank
means something else than LoRA's. For a method that a search cannot take,
:func:`reason_not_searched` has the reason.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from floss_sim.errors import ConfigError
from floss_sim.methods.catalog import COMMON_OPTIONS, METHODS, options_of
from floss_sim.vectors.layout import ADAPTER_LAYOUTS

RANK, DOWN_DENSITY, UP_DENSITY, DENSITY = "rank", "down_density", "up_density", "density"
DENSITIES = (DOWN_DENSITY, UP_DENSITY, DENSITY)
SQUARE_RANKS = (16, 32, 64)  # R of rank 32 has the values of LoRA of rank 4 at width 128
Number = int | float


@dataclass(frozen=True)
class SearchAxes:
    """Axes of a method.

    Attributes:
        ranks: Ranks to search unless others are asked for; empty: the search's own.
        own: Values to search of options that only this method has, by option.
        fixed: Options that a search always sets.
        of_ranks: Whether the density is a fraction of a candidate's ranks, and keeps one at least.
        has_rank: Whether the method has a rank; the candidates of one without it have rank 1.
        densities: Options that are densities: two of down and up, one of both directions, or none.
        numbers: All of the method's options that are numbers and no densities.
    """

    ranks: tuple[int, ...] = ()
    own: Mapping[str, tuple[Number, ...]] = field(default_factory=dict)
    fixed: Mapping[str, str] = field(default_factory=dict)
    of_ranks: bool = False
    has_rank: bool = True
    densities: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all axes."""
        return (*(RANK,) * self.has_rank, *self.densities, *self.numbers)

    def takes(self, rank: int, down: float, up: float) -> bool:
        """Return whether a candidate of this rank and these densities is one of the method.

        A method of one density has it in both directions, below 1; at 1 it would be dense.
        """
        if self.densities != (DENSITY,):
            return True
        return down == up < 1 and (rank * down >= 1 or not self.of_ranks)


# Beyond the options of a method; searches name methods in this order, then the others.
SEARCH_AXES: Mapping[str, SearchAxes] = {
    "floss": SearchAxes(),
    "ffa": SearchAxes(),
    # A mask over all tensors would keep almost no entry of B.
    "sparse-adapter": SearchAxes(fixed={"scope": "tensor"}),
    "fslora": SearchAxes(of_ranks=True),
    "freezing": SearchAxes(own={"freeze_every": (5, 20)}),
    "rolora": SearchAxes(),
    "lora-a2": SearchAxes(),
    "fedsrd": SearchAxes(),
    "ecolora": SearchAxes(own={"segments": (2, 5)}),
    "fed-sb": SearchAxes(ranks=SQUARE_RANKS),
    "ravan": SearchAxes(ranks=SQUARE_RANKS, own={"heads": (2, 4)}),
    # Fewer seeds and steps than the authors', whose rounds take a minute even for a small model.
    "fedkseed": SearchAxes(
        own={"seeds": (1024,), "steps": (40,), "rate": (3e-7, 3e-6, 3e-5, 3e-4)}
    ),
}
_REASONS = {  # by method, where its parts do not show the reason
    "dense": "it is floss at densities of 1, which a search of floss has",
    "adapter-lth": "its mask shrinks by the round, so that it has no density to choose",
}


def reason_not_searched(name: str, *, own: bool = False) -> str | None:
    """Return why a search cannot take a method of the catalog; None if it can.

    Args:
        name: The method.
        own: Whether the search measures clients' own models, which private entries need.
    """
    method = METHODS[name]()
    if name in _REASONS:
        return _REASONS[name]
    if len(method.tiers) > 1:
        return "its tiers of clients are given by hand (--tiers of floss-sim run)"
    if method.private and not own:
        return (
            "its clients have models of their own, and plans compare one model for all clients; "
            "--accuracy own compares own models"
        )
    return None


@lru_cache(maxsize=64)
def search_axes(name: str) -> SearchAxes:
    """Return the axes of a method.

    Raises:
        ConfigError: There is no such method, or a search cannot take it.
    """
    if name in METHODS and (reason := reason_not_searched(name, own=True)):
        raise ConfigError(f"cannot search method {name!r}: {reason}")
    if name not in METHODS:
        valid = ", ".join(searched_methods())
        raise ConfigError(f"cannot search method {name!r}; valid: {valid}")
    options = [option for option in options_of(name) if option not in COMMON_OPTIONS]
    return replace(
        SEARCH_AXES.get(name, SearchAxes()),
        has_rank=METHODS[name]().trains in ADAPTER_LAYOUTS,
        densities=tuple(option for option in options if option in DENSITIES),
        numbers=tuple(o for o in options if o not in DENSITIES and _is_number(name, o)),
    )


def _is_number(name: str, option: str) -> bool:
    default = inspect.signature(METHODS[name]).parameters[option].default
    return isinstance(default, int | float) and not isinstance(default, bool)


@lru_cache(maxsize=1)
def searched_methods() -> tuple[str, ...]:
    """Return the names of the methods that a search can take, if by own models alone."""
    others = (name for name in METHODS if name not in SEARCH_AXES)
    return (*SEARCH_AXES, *(name for name in others if not reason_not_searched(name, own=True)))


@lru_cache(maxsize=1)
def number_axes() -> tuple[str, ...]:
    """Return the names of all numbers that a search can vary in some method, each once."""
    return tuple(sorted({o for name in searched_methods() for o in search_axes(name).numbers}))


def default_number(name: str, option: str) -> float:
    """Return the default of a method's option that is a number."""
    return float(inspect.signature(METHODS[name]).parameters[option].default)
