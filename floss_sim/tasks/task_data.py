"""Examples of a task: arrays of the three parts, and how their files were read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import TaskError
from floss_sim.tasks.arrays import Arrays
from floss_sim.tasks.duplicates import (
    DuplicateCounts,
    Marks,
    array_marks,
    count_duplicates,
    new_content,
)
from floss_sim.tasks.table_cells import CsvForm

RowNumbers = NDArray[np.int64]


@dataclass(frozen=True)
class FilesRead:
    """How the files of a data set were read.

    Attributes:
        rows: Rows of each split that was read, by the split's name.
        left_out: Paths of a folder's files that were not read, in sorted order.
        csv: Form of the CSV files of each split; without those of other formats.
        unused: Rows of each split that ``data.split_column`` names and the task does not use.
    """

    rows: Mapping[str, int] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    csv: Mapping[str, CsvForm] = field(default_factory=dict)
    unused: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class TaskData:
    """Examples of the fixed split into training, validation and test.

    Each part is ``(x, y)``. ``x`` is one of: float32 (E, C, H, W), images ready for the backbone
    (digits, npz); uint8 (E, C, h, w), images of a data set; int32 (E, T), token ids padded at
    the right with -1. ``y`` is int64 (E,), the classes; zeros for next-token prediction.

    Attributes:
        train: Training examples, partitioned over the clients.
        validation: Validation examples, on which every choice is made.
        test: Test examples, on which results are reported.
        groups: Group, 0 .. G-1, of each training example; None unless ``data.group`` is set.
        names: Class names in the order of the class numbers; empty where labels are numbers.
        cut: Fraction of training texts longer than ``preprocess.max_length``; None for images.
        files: How the files were read; empty for arrays.
        marks: Hashes of the raw texts of the three parts; None for images, whose pixels count.
    """

    train: Arrays
    validation: Arrays
    test: Arrays
    groups: RowNumbers | None = None
    names: tuple[str, ...] = ()
    cut: float | None = None
    files: FilesRead = FilesRead()
    marks: tuple[Marks, ...] | None = None

    @cached_property
    def duplicates(self) -> DuplicateCounts:
        """Numbers of examples whose content is also in another split, or twice in training."""
        return count_duplicates(*self.content_marks())

    def content_marks(self) -> tuple[Marks, ...]:
        """Return hashes of the content of the training, validation and test examples."""
        if self.marks is not None:
            return self.marks
        return tuple(array_marks(x) for x, _ in (self.train, self.validation, self.test))

    def without_duplicates(self) -> TaskData:
        """Return the examples without training examples whose content is in another split.

        Raises:
            TaskError: No training example is left.
        """
        marks = self.content_marks()
        kept = new_content(*marks)
        if not kept.any():
            raise TaskError(
                'data.duplicates = "drop" leaves no training example: the content of each is '
                "also in another split"
            )
        groups = None if self.groups is None else np.unique(self.groups[kept], return_inverse=True)
        return replace(
            self,
            train=(self.train[0][kept], self.train[1][kept]),
            groups=None if groups is None else groups[1],
            marks=self.marks and (marks[0][kept], *marks[1:]),
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all arrays and their shapes in split order, in hex."""
        digest = hashlib.sha256()
        for x, y in (self.train, self.validation, self.test):
            digest.update(repr(x.shape).encode())
            digest.update(np.ascontiguousarray(x).tobytes())
            digest.update(y.tobytes())
        if self.groups is not None:
            digest.update(self.groups.tobytes())
        return digest.hexdigest()
