"""Predicted sizes, corrected by what a run's first rounds really took.

Real masks are far from uniform and real values far from normal. Both change slowly, so that the
ratio of real to predicted bytes in the first rounds, by direction, is a good guess for the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from floss_sim.records import RunRecord


@dataclass(frozen=True)
class Calibration:
    """Real bytes of a message over the predicted ones, by direction.

    Attributes:
        down: Of downloads.
        up: Of uploads.
    """

    down: float = 1.0
    up: float = 1.0

    def nbytes(self, direction: str, predicted: int) -> int:
        """Return the expected bytes of a message."""
        return max(1, round(predicted * (self.down if direction == "down" else self.up)))

    def error(self, real: Calibration) -> Calibration:
        """Return the relative error of what was expected, where ``real`` is what came."""
        return Calibration(self.down / real.down - 1, self.up / real.up - 1)


UNCALIBRATED = Calibration()


def calibration_rounds(first: int) -> range:
    """Return which of a run's first rounds foretell the others: the second half of them.

    The very first are unlike all others, because B is zero and A has no gradient.
    """
    return range(first // 2 + 1, first + 1)


def calibrate(record: RunRecord, predicted: RunRecord, rounds: range) -> Calibration:
    """Return the calibration that some rounds of a run give.

    Args:
        record: The run.
        predicted: The same rounds, or more, in predicted sizes (``run.size_only``).
        rounds: Which rounds to look at, by number.
    """
    down, up = (
        _mean_bytes(record, way, rounds) / _mean_bytes(predicted, way, rounds)
        for way in ("down", "up")
    )
    return Calibration(down, up)


def _mean_bytes(record: RunRecord, direction: str, rounds: range) -> float:
    transfers = record.transfers
    number = np.asarray(transfers["round"])
    chosen = (number >= rounds.start) & (number < rounds.stop)
    chosen &= np.asarray(transfers["direction"].to_pylist()) == direction
    return float(np.asarray(transfers["nbytes"])[chosen].mean())
