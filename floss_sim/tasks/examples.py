"""Examples of a task: reading, the fixed split, and conversion to arrays.

The split depends on the data alone, never on a seed. Where validation and test are counts, their
rows are the last ones of one fixed permutation of the training rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import TaskError
from floss_sim.families import Config
from floss_sim.tasks import hub
from floss_sim.tasks.arrays import DIGITS, Arrays, load_digits, load_npz
from floss_sim.tasks.backbone_files import BackboneFiles
from floss_sim.tasks.columns import (
    DataTable,
    blank_rows,
    check_classes,
    class_numbers,
    group_numbers,
    select_rows,
)
from floss_sim.tasks.dataset_files import open_splits
from floss_sim.tasks.images import decode_images
from floss_sim.tasks.preprocess_checks import check_fit
from floss_sim.tasks.sections import TaskFile
from floss_sim.tasks.text import check_vocabulary, open_tokenizer, tokenise

RowNumbers = NDArray[np.int64]


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
    """

    train: Arrays
    validation: Arrays
    test: Arrays
    groups: RowNumbers | None = None
    names: tuple[str, ...] = ()
    cut: float | None = None

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


def load_content(task: TaskFile, backbone: BackboneFiles, folder: Path, *, fetch: bool) -> TaskData:
    """Return the examples of a task.

    Args:
        task: The task file.
        backbone: The task's backbone.
        folder: The folder to which the task's relative paths refer.
        fetch: Whether a data set may be downloaded.

    Raises:
        TaskError: Unreadable data, a missing column, labels outside the classes, an empty text,
            too few rows, or a ``[preprocess]`` that does not fit the backbone.
        LayoutError: The backbone's family is unknown.
    """
    path = None if task.data.dataset == DIGITS else hub.locate(task.data.dataset, folder)
    if task.data.dataset == DIGITS:
        return _from_arrays(task, backbone, *load_digits())
    if path is not None and path.suffix == ".npz":
        return _from_arrays(task, backbone, *load_npz(path))
    return _from_library(task, backbone, folder, fetch=fetch)


def _from_arrays(
    task: TaskFile, backbone: BackboneFiles, x: NDArray[np.float32], y: NDArray[Any]
) -> TaskData:
    where = f"task {task.name!r}"
    if task.kind != "image-classification" or isinstance(task.data.test, str):
        raise TaskError(
            f"{where}: {task.data.dataset} holds images without named splits; valid: kind "
            "'image-classification' and data.test as a count"
        )
    check_fit(task, backbone.config)
    parts = _split(task, len(y))
    check_classes(y, task.labels, where)
    y = y.astype(np.int64)
    parts[0] = parts[0][: task.data.limit]
    train, validation, test = ((x[part], y[part]) for part in parts)
    return TaskData(train, validation, test)


def _split(task: TaskFile, rows: int) -> list[RowNumbers]:
    """Return the row numbers of training, validation and test; no test rows for a named split."""
    test = task.data.test if isinstance(task.data.test, int) else 0
    held_out = task.data.validation + test
    if rows <= held_out:
        counts = f"{task.data.validation} for validation" + (
            f" and {test} for test" if test else ""
        )
        raise TaskError(
            f"task {task.name!r}: {rows} examples are too few: {counts} leave none to train on"
        )
    # The seed must stay 0: the last 350 rows of this order were not used to choose the digits
    # backbone.
    order = np.random.default_rng(0).permutation(rows)
    return np.split(order, [rows - held_out, rows - test])


def _from_library(
    task: TaskFile, backbone: BackboneFiles, folder: Path, *, fetch: bool
) -> TaskData:
    data, where = task.data, f"task {task.name!r}"
    splits = open_splits(
        data.dataset, folder, config=data.config, revision=data.revision, fetch=fetch
    )
    check_fit(task, backbone.config)
    parts = [
        select_rows(splits, name, data.split_column, where)
        for name in (data.train, data.test)
        if isinstance(name, str)
    ]
    pool, held = parts[0], parts[-1]
    kept = [_rows_with_input(task, rows) for rows in parts]
    train, validation, counted = (kept[0][part] for part in _split(task, len(kept[0])))
    test = counted if isinstance(data.test, int) else kept[1]
    labels = [np.zeros(len(rows), dtype=np.int64) for rows in parts]
    names: tuple[str, ...] = ()
    if task.labels:
        labels, names = class_numbers(parts, data.label, task.labels)
    groups = None if data.group is None else group_numbers(pool, data.group)
    train = _apply_limit(task, train, groups)
    x, train, cut = _inputs(task, backbone, pool, train)
    x_validation, validation, _ = _inputs(task, backbone, pool, validation)
    x_test, test, _ = _inputs(task, backbone, held, test)
    return TaskData(
        (x, labels[0][train]),
        (x_validation, labels[0][validation]),
        (x_test, labels[-1][test]),
        None if groups is None else np.unique(groups[train], return_inverse=True)[1],
        names,
        cut,
    )


def _rows_with_input(task: TaskFile, rows: DataTable) -> RowNumbers:
    """Return the numbers of the rows with an input; every image counts, empty texts do not."""
    if task.kind == "image-classification":
        rows.require("data.input", task.data.input)
        return np.arange(len(rows))
    empty = blank_rows(rows, task.data.input)
    _refuse_empty(task, rows, empty)
    return np.setdiff1d(np.arange(len(rows)), empty)


def _refuse_empty(task: TaskFile, rows: DataTable, empty: Sequence[int] | RowNumbers) -> None:
    if len(empty) and not task.data.drop_empty:
        least = "two tokens" if task.kind == "next-token" else "one token"
        raise TaskError(
            f"{rows.describe_row(empty[0])}: the text is empty or has fewer than {least}; "
            "data.drop_empty = true leaves such rows out"
        )


def _apply_limit(task: TaskFile, train: RowNumbers, groups: RowNumbers | None) -> RowNumbers:
    """Return at most ``data.limit`` training rows; with groups, only whole groups.

    A group with fewer than ``partition.min_examples`` rows cannot be a client and is skipped.
    """
    limit = task.data.limit
    if limit is None or groups is None:
        return train[:limit]
    sizes = np.bincount(groups[train])
    order = np.random.default_rng(0).permutation(sizes.size)
    order = order[sizes[order] >= task.partition.min_examples]
    chosen = order[np.cumsum(sizes[order]) <= limit]
    if not chosen.size:
        raise TaskError(f"task {task.name!r}: data.limit {limit} is too small for a whole group")
    return train[np.isin(groups[train], chosen)]


def _inputs(
    task: TaskFile, backbone: BackboneFiles, rows: DataTable, chosen: RowNumbers
) -> tuple[NDArray[Any], RowNumbers, float | None]:
    """Return the inputs of the non-empty chosen rows, their numbers and the fraction cut."""
    name = rows.require("data.input", task.data.input)
    if task.kind == "image-classification":
        return _images(task, backbone.config, rows, name, chosen), chosen, None
    return _tokens(task, backbone, rows, name, chosen)


def _images(
    task: TaskFile, backbone: Config, rows: DataTable, name: str, chosen: RowNumbers
) -> NDArray[np.uint8]:
    if not rows.holds_images(name):
        raise TaskError(f"{rows.where}: column {name!r} holds no images")
    return decode_images(
        lambda: (
            (f"{rows.where}, {cell['path']}" if cell["path"] else rows.describe_row(row), cell)
            for row, cell in zip(chosen, chain.from_iterable(rows.cells(name, chosen)), strict=True)
        ),
        channels=1 if backbone.get("num_channels") == 1 else 3,
        side=task.preprocess.image_size,
        where=rows.where,
    )


def _tokens(
    task: TaskFile, backbone: BackboneFiles, rows: DataTable, name: str, chosen: RowNumbers
) -> tuple[NDArray[np.int32], RowNumbers, float | None]:
    tokenizer = open_tokenizer(backbone.path, task.preprocess.max_length or 0)
    texts = tokenise(rows.cells(name, chosen), tokenizer)
    check_vocabulary(texts.ids, backbone.config, rows.where)
    full = texts.words > 0
    if task.kind == "next-token":
        full &= (texts.ids >= 0).sum(axis=1) > 1
    _refuse_empty(task, rows, chosen[~full])
    if not full.any():
        raise TaskError(f"{rows.where}: every text is empty or too short")
    return texts.ids[full], chosen[full], float(texts.cut[full].mean())
