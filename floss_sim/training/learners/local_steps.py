"""Local steps of the dispatches in flight: how many there are, and how many are done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

OnWork = Callable[[str, int, int], object]
"""Function of what is done now, such as ``"training"``, and of the local steps of the clients at
work: those that are done, and all. Both are 0 where none are counted."""


class LocalSteps:
    """Counts of local steps by dispatch; a step of each of C clients counts as C steps.

    Attributes:
        done: Steps that are done.
        total: Steps of all dispatches in flight.
    """

    def __init__(self) -> None:
        self.done = self.total = 0
        self._planned: dict[int, int] = {}  # by sequence
        self._done: dict[int, int] = {}

    def begin(self, planned: Mapping[int, int]) -> None:
        """Set the numbers of steps of some dispatches, of which none are done.

        Args:
            planned: Number of steps by sequence number of the dispatch.
        """
        for sequence, steps in planned.items():
            self.forget(sequence)
            self._planned[sequence], self._done[sequence] = steps, 0
            self.total += steps

    def advance(self, sequences: Iterable[int]) -> None:
        """Count one step of each of some dispatches."""
        for sequence in sequences:
            self._done[sequence] += 1
            self.done += 1

    def forget(self, sequence: int) -> None:
        """Drop a dispatch that is over."""
        self.total -= self._planned.pop(sequence, 0)
        self.done -= self._done.pop(sequence, 0)
