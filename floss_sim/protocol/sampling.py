"""Client sampling: the cohort of a round, and the order in which a server asks clients."""

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


@lru_cache(maxsize=4096)  # runs of one seed share cohorts; large ones are not kept by the GB
def draw_cohort(seed: int, round_: int, fleet: int, size: int) -> Cohort:
    """Return the cohort of a round: ``size`` clients of ``fleet``, uniform without replacement.

    Raises:
        ConfigError: The fleet is smaller than the cohort, or the cohort is empty.
    """
    if not 1 <= size <= fleet:
        raise ConfigError(f"cohort of {size} clients; valid: 1 to the fleet's {fleet}")
    drawn = stream(seed, "cohort", round_).choice(fleet, size=size, replace=False)
    return Cohort(round_, tuple(drawn.tolist()))


def order_of_clients(seed: int, round_: int, attempt: int, fleet: int, size: int) -> Iterator[int]:
    """Yield clients in the order in which a server asks them: all of the fleet, each once.

    The cohort of the round comes first, then the others at random (Fisher and Yates), drawn only
    as far as anyone asks.

    Args:
        seed: The run's.
        round_: The number of the round.
        attempt: How often the server has begun anew in this round.
        fleet: How many clients there are.
        size: Of a cohort.
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
