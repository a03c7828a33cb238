"""Call: work that a worker does in one or more jobs, as the dispatcher sees it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from planner.cluster.job import Answer


@dataclass(frozen=True)
class Prepared:
    """A call that is about to be sent.

    Attributes:
        parcel: The job; None if nothing is left to do now.
        expected_s: Seconds that a worker has for it.
        waiting: Calls that cannot be sent yet, because another process holds their runs.
    """

    parcel: bytes | None
    expected_s: float = 0.0
    waiting: Sequence[Call] = ()


class Call(Protocol):
    """Work that a worker does in one or more calls."""

    @property
    def delay_s(self) -> float:
        """Seconds to wait before the next job."""

    def prepare(self, slice_s: float, files: Collection[str]) -> Prepared:
        """Return the next job.

        Args:
            slice_s: Seconds of training after which a worker shall return.
            files: Files that the last worker lacked, ``data`` and ``backbone``.
        """

    def take(self, answer: Answer, blobs: dict[str, bytes]) -> Sequence[Call]:
        """Take an answer; return the calls that are still to be made.

        Raises:
            FlossError: The answer cannot be used.
        """

    def parts(self) -> Sequence[Call]:
        """Return calls that share the work of one that failed; itself if it cannot be shared."""

    def fail(self, reason: str) -> None:
        """End the call, which has failed too often."""

    def refuse(self, error: BaseException) -> None:
        """End the call with an error that ends the search."""
