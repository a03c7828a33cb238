"""Client sampling: the cohort of a round, and the order in which the server asks clients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from floss_sim.errors import ConfigError
from floss_sim.rng import stream


@dataclass(frozen=True)
class Cohort:
    """The clients of one round, in the order in which they were drawn."""

    round: int
    clients: tuple[int, ...]


@lru_cache(maxsize=4096)  # runs of one seed share cohorts; the limit bounds memory for large ones
def draw_cohort(seed: int, round_: int, fleet: int, size: int) -> Cohort:
    """Return the cohort of a round: ``size`` clients of ``fleet``, uniform without replacement.

    Raises:
        ConfigError: ``size`` is outside 1 .. ``fleet``.
    """
    if not 1 <= size <= fleet:
        raise ConfigError(f"cohort of {size} clients; valid: 1 to the fleet's {fleet}")
    drawn = stream(seed, "cohort", round_).choice(fleet, size=size, replace=False)
    return Cohort(round_, tuple(drawn.tolist()))


def order_of_clients(seed: int, round_: int, attempt: int, fleet: int, size: int) -> Iterator[int]:
    """Yield every client of the fleet once, in the order in which the server asks them.

    In the first attempt the cohort of the round comes first, then the other clients in random
    order. A later attempt is in random order from the start. The random order is a Fisher-Yates
    shuffle, drawn lazily.

    Args:
        seed: Seed of the run.
        round_: Number of the round, from 1.
        attempt: Number of the attempt to find clients in this round, from 0.
        fleet: Number of clients.
        size: Number of clients in a cohort.
    """
    if attempt:
        asked: set[int] = set()
    else:
        cohort = draw_cohort(seed, round_, fleet, size).clients
        yield from cohort
        asked = set(cohort)
    draw, moved = stream(seed, "cohort", round_, "more", attempt), dict[int, int]()
    for i in range(fleet):
        j = int(draw.integers(i, fleet))
        client = moved.get(j, j)
        moved[j] = moved.get(i, i)
        if client not in asked:
            yield client
