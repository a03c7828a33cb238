"""Calibration of predicted message sizes with the real sizes of a run's first rounds.

Predictions follow the course of recorded runs (:mod:`floss_sim.methods.predicted_sizes`); a run may
differ from them, but does so by a factor that changes slowly. The ratio of real to predicted bytes
in the first rounds, per direction, is therefore a good estimate for the later rounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from floss_sim.records import RunRecord


@dataclass(frozen=True)
class Calibration:
    """Ratio of real to predicted bytes of a message, per direction.

    Attributes:
        down: Ratio for downloads.
        up: Ratio for uploads.
    """

    down: float = 1.0
    up: float = 1.0

    def nbytes(self, direction: str, predicted: int) -> int:
        """Return the expected bytes of a message: predicted bytes times the direction's ratio."""
        return max(1, round(predicted * (self.down if direction == "down" else self.up)))

    def error(self, real: Calibration) -> Calibration:
        """Return the relative errors of the calibrated sizes; ``real`` has the real ratios."""
        return Calibration(self.down / real.down - 1, self.up / real.up - 1)


UNCALIBRATED = Calibration()


def calibration_rounds(first: int) -> range:
    """Return the rounds used for calibration: the second half of the first ``first`` rounds.

    The very first rounds are atypical: LoRA's B is zero, so that A has no gradient.
    """
    return range(first // 2 + 1, first + 1)


def calibrate(record: RunRecord, predicted: RunRecord, rounds: range) -> Calibration:
    """Return the ratios of real to predicted bytes in some rounds of a run.

    Args:
        record: Record of the run.
        predicted: Record of at least the same rounds with predicted sizes
            (:func:`floss_sim.runs.lockstep.size_only`).
        rounds: Numbers of the rounds to compare.
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
