"""What the asynchronous race would gain, said where many workers wait in the default search."""

from __future__ import annotations

from bisect import bisect_right

# Mean busy shares of simulated workers, by their number: race, asynchronous race
# (experiments/search_benchmark/workers.csv).
_BUSY = {4: (0.69, 0.98), 16: (0.28, 0.87), 64: (0.08, 0.65), 256: (0.02, 0.23)}


def async_offer(workers: int) -> str:
    """Return a sentence on the workers that wait in a race, and on the search that uses them.

    Args:
        workers: Runs that train at once, at least as many as the fewest of the table.

    Example:
        >>> from planner.decisions.async_offer import async_offer
        >>> async_offer(16)[:57]
        'With 16 workers, a race keeps about 28 % of them busy (in'
    """
    counts = list(_BUSY)
    race, free = _BUSY[counts[max(0, bisect_right(counts, workers) - 1)]]
    return (
        f"With {workers} workers, a race keeps about {100 * race:.0f} % of them busy (in "
        f"simulations), --search async-race about {100 * free:.0f} %; its decisions depend on the "
        "order of their answers."
    )
