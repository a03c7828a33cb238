"""Equal content: marks of inputs, counts within and across splits, and rows to leave out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Marks = NDArray[np.uint64]  # of E inputs; equal for equal content


@dataclass(frozen=True)
class DuplicateCounts:
    """Numbers of examples whose content occurs elsewhere, labels aside.

    Attributes:
        train_in_validation: Training examples that are also validation examples.
        train_in_test: Training examples that are also test examples.
        validation_in_test: Validation examples that are also test examples.
        repeated_in_train: Training examples that repeat an earlier training example.
    """

    train_in_validation: int
    train_in_test: int
    validation_in_test: int
    repeated_in_train: int = 0


def text_marks(texts: Iterable[str]) -> Marks:
    """Return 64 bits of a hash of each text."""
    return _marks(text.encode("utf-8", "surrogatepass") for text in texts)


def array_marks(x: NDArray[Any]) -> Marks:
    """Return 64 bits of a hash of each row of an array of shape (E, ...)."""
    return _marks(np.ascontiguousarray(row).tobytes() for row in x)


def _marks(blobs: Iterable[bytes]) -> Marks:
    digests = b"".join(hashlib.blake2b(blob, digest_size=8).digest() for blob in blobs)
    return np.frombuffer(digests, dtype=np.uint64)


def count_duplicates(train: Marks, validation: Marks, test: Marks) -> DuplicateCounts:
    """Return how many examples have content that is also in another split, or twice in training."""
    return DuplicateCounts(
        train_in_validation=int(np.isin(train, validation).sum()),
        train_in_test=int(np.isin(train, test).sum()),
        validation_in_test=int(np.isin(validation, test).sum()),
        repeated_in_train=len(train) - len(np.unique(train)),
    )


def new_content(train: Marks, *held_out: Marks) -> NDArray[np.bool_]:
    """Return the mask of the training examples whose content is in no other split."""
    return ~np.isin(train, np.concatenate(held_out))
