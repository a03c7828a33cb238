"""A model measured on the test split: accuracy, loss, and which predictions are right."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RIGHT, COUNT = "right", "predictions"  # keys of the packed bits, and of their number
OWN_RIGHT = "own_right"  # key of what the clients' own models get right


@dataclass(frozen=True)
class ModelOnTest:
    """A model measured on the test split.

    Attributes:
        accuracy: Fraction of right predictions, 0 to 1.
        loss: Mean cross-entropy, nats.
        right: Whether each prediction is right, in the order of the split; bool of shape (M,). An
            image or a classified text has one prediction, a text of next tokens several.
    """

    accuracy: float
    loss: float
    right: NDArray[np.bool_]

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values; the predictions as base64 of a bit each."""
        packed = base64.b64encode(np.packbits(self.right).tobytes()).decode("ascii")
        metrics = {"accuracy": self.accuracy, "loss": self.loss}
        return {**metrics, RIGHT: packed, COUNT: len(self.right)}


def read_model(content: Mapping[str, Any]) -> ModelOnTest | None:
    """Return the result that JSON values hold; None if they lack the single predictions.

    Raises:
        ValueError: The values contradict each other.
    """
    if RIGHT not in content:
        return None
    count, accuracy = int(content[COUNT]), float(content["accuracy"])
    try:
        packed = np.frombuffer(base64.b64decode(content[RIGHT], validate=True), np.uint8)
    except binascii.Error:
        raise ValueError(f"{RIGHT} is no base64") from None
    if count < 1 or len(packed) != -(-count // 8):
        raise ValueError(f"{RIGHT} does not hold {count} predictions")
    right = np.unpackbits(packed, count=count).astype(np.bool_)
    if abs(right.mean() - accuracy) > 0.5 / count:
        raise ValueError(f"the accuracy {accuracy:g} is not the share of right predictions")
    return ModelOnTest(accuracy, float(content["loss"]), right)


def pack_own(right: NDArray[np.float64]) -> str:
    """Return as base64 what clients' own models get right: float32 of shape (M,), little-endian.

    Args:
        right: By prediction the clients' mean, weighted so that its mean is the own accuracy.
    """
    return base64.b64encode(right.astype("<f4").tobytes()).decode("ascii")


def read_own(content: Mapping[str, Any]) -> NDArray[np.float64] | None:
    """Return what :func:`pack_own` has packed into test metrics; None if they lack it.

    Raises:
        ValueError: The values are no base64 of finite numbers from 0.
    """
    if OWN_RIGHT not in content:
        return None
    try:
        packed = base64.b64decode(str(content[OWN_RIGHT]), validate=True)
        right = np.frombuffer(packed, "<f4").astype(np.float64)
    except (binascii.Error, ValueError):
        raise ValueError(f"{OWN_RIGHT} is no base64 of numbers") from None
    if not len(right) or not np.isfinite(right).all() or right.min() < 0:
        raise ValueError(f"{OWN_RIGHT} does not hold finite numbers from 0")
    return right
