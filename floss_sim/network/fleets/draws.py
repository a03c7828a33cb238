"""Names of what the seed of a network draws for a fleet."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from floss_sim.network.fleets.classes import ClassOrder, ClientClass
from floss_sim.network.fleets.laws import LognormalFleet, RowsFleet
from floss_sim.network.link import ClientLink

Change = Callable[[ClientLink], ClientLink]


def draws_of(
    classes: Sequence[ClientClass],
    order: ClassOrder,
    law: LognormalFleet | RowsFleet | None,
    change: Change,
) -> tuple[str, ...]:
    """Return the names of what another seed changes, in a fixed order; empty if nothing.

    Args:
        classes: Client classes; empty if there is a law.
        order: Whether the seed draws which client is of which class.
        law: Law of the fleet; None if there are classes.
        change: Function that makes a what-if study's changes to a link.
    """
    if isinstance(law, RowsFleet):
        links = [change(link) for link in law.rows.links]
        found = {"links": law.law == "rows" and len(set(links)) > 1}
    else:
        groups = classes if law is None else (law.as_class(),)
        links = [change(group.link()) for group in groups]
        means = [change(group.mean_link()) for group in groups]
        starts = [group.trace_start == "random" for group in groups]
        laws = zip(links, means, starts, (group.correlation for group in groups), strict=True)
        traced = [bool(link.down_trace or link.up_trace) for link in links]
        found = {
            "classes": order == "drawn" and len(set(laws)) > 1,
            "links": links != means,  # a median and a mean differ if there is a spread
            "trace starts": any(a and b for a, b in zip(starts, traced, strict=True)),
        }
    found["jitter"] = any(link.jitter_s for link in links)
    found["dropout"] = any(link.dropout for link in links)
    return tuple(name for name, is_drawn in found.items() if is_drawn)
