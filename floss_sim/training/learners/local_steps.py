"""Local steps of the dispatches in flight: how many there are, and how many are done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

OnWork = Callable[[str, int, int], object]
"""Function of what is done now, such as ``"training"``, and of the local steps of the clients at
work: those that are done, and all. Both are 0 where none are counted."""


class LocalSteps:
    """Counts of local steps by dispatch; a step of each of C clients counts as C steps."""

    def __init__(self) -> None:
        self._planned: dict[int, int] = {}  # by sequence
        self._done: dict[int, int] = {}

    @property
    def done(self) -> int:
        """Steps that are done."""
        return sum(self._done.values())

    @property
    def total(self) -> int:
        """Steps of all dispatches in flight."""
        return sum(self._planned.values())

    def begin(self, planned: Mapping[int, int]) -> None:
        """Set the numbers of steps of some dispatches, of which none are done.

        Args:
            planned: Number of steps by sequence number of the dispatch.
        """
        self._planned |= planned
        self._done |= dict.fromkeys(planned, 0)

    def advance(self, sequences: Iterable[int]) -> None:
        """Count one step of each of some dispatches."""
        for sequence in sequences:
            self._done[sequence] += 1

    def forget(self, sequence: int) -> None:
        """Drop a dispatch that is over."""
        self._planned.pop(sequence, None)
        self._done.pop(sequence, None)
