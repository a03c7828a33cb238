"""Time that the owner of a store spends on each call, and the slices with which it keeps up."""

from __future__ import annotations

_SHARE = 0.25  # of its time that the owner shall be busy with calls, at most


class OwnerTime:
    """Seconds in which the owner of a store prepared calls and took answers."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._answers = 0

    def note(self, seconds: float) -> None:
        """Note seconds of the owner."""
        self._seconds += seconds

    def note_answer(self) -> None:
        """Note that an answer was taken."""
        self._answers += 1

    def least_slice_s(self, workers: int) -> float:
        """Return the seconds that calls must take for the owner to keep up with all workers."""
        return workers * self._seconds / max(1, self._answers) / _SHARE
