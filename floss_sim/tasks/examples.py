"""Examples of a task: reading, the fixed split, and conversion to arrays.

The split does not depend on a run's seed. Where validation and test are counts, they are training
rows that :mod:`floss_sim.tasks.fixed_split` draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import TaskError
from floss_sim.tasks import hub
from floss_sim.tasks.arrays import DIGITS, load_digits, load_npz
from floss_sim.tasks.backbone_files import BackboneFiles
from floss_sim.tasks.columns import (
    DataTable,
    blank_rows,
    divide_rows,
    group_numbers,
    select_rows,
)
from floss_sim.tasks.dataset_files import Reading, open_splits
from floss_sim.tasks.fixed_split import split_rows
from floss_sim.tasks.inputs import read_inputs, refuse_empty
from floss_sim.tasks.labels import check_classes, class_numbers
from floss_sim.tasks.preprocess_checks import check_fit
from floss_sim.tasks.sections import TaskFile
from floss_sim.tasks.split_rows import Splits
from floss_sim.tasks.table_cells import CsvForm
from floss_sim.tasks.task_data import FilesRead, RowNumbers, TaskData


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
    content = _load(task, backbone, folder, fetch=fetch)
    return content.without_duplicates() if task.data.duplicates == "drop" else content


def load_own_examples(task: TaskFile, backbone: BackboneFiles, names: tuple[str, ...]) -> TaskData:
    """Return all training examples of a local data set, with no example held out.

    Args:
        task: The task file; ``data.dataset`` is the local file or folder.
        backbone: The task's backbone.
        names: Class names in the order of the class numbers; empty where labels are numbers.

    Raises:
        TaskError: The data cannot be read, hold no example, or have a label outside the names.
    """
    path = Path(task.data.dataset)
    if not path.exists():
        raise TaskError(f"no data at {path}; give a file or a folder (data-path)")
    if path.suffix == ".npz":
        x, y = load_npz(path)
        check_fit(task, backbone.config)
        check_classes(y, task.labels, str(path))
        return _without_held_out(x, y.astype(np.int64), ())
    data = task.data
    columns = (data.input, data.label if task.labels else None, data.split_column)
    form = CsvForm(data.delimiter, data.decimal)
    reading = Reading(frozenset(filter(None, columns)), form)
    splits = open_splits(
        str(path), path.parent, reading, config=data.config, revision=None, fetch=False
    )
    check_fit(task, backbone.config)
    if data.split_column is None:
        (rows,) = select_rows(splits, ["train" if path.is_file() else data.train], str(path))
    else:
        (rows,), _ = divide_rows(splits, [data.train], data.split_column, str(path))
    labels = np.zeros(len(rows), dtype=np.int64)
    if task.labels:
        (labels,), _ = class_numbers([rows], data.label, task.labels, names)
    read = read_inputs(task, backbone, rows, _rows_with_input(task, rows))
    return _without_held_out(read.x, labels[read.rows], names)


def _without_held_out(x: NDArray[Any], y: NDArray[np.int64], names: tuple[str, ...]) -> TaskData:
    """Return examples that are all training examples.

    Raises:
        TaskError: There is none.
    """
    if not len(y):
        raise TaskError("the data hold no example to train on")
    none = x[:0], y[:0]
    return TaskData((x, y), none, none, names=names)


def _load(task: TaskFile, backbone: BackboneFiles, folder: Path, *, fetch: bool) -> TaskData:
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
    for key in ("group", "split_column"):
        if getattr(task.data, key) is not None:
            raise TaskError(
                f"{where}: {task.data.dataset} has no columns, so data.{key} names none"
            )
    check_fit(task, backbone.config)
    _check_rows(task, len(y))
    check_classes(y, task.labels, where)
    y = y.astype(np.int64)
    fit, checked, tested = _split(task, y)
    train, validation, test = (
        (x[part], y[part]) for part in (fit[: task.data.limit], checked, tested)
    )
    return TaskData(train, validation, test)


def _split(
    task: TaskFile, labels_E: NDArray[np.int64]
) -> tuple[RowNumbers, RowNumbers, RowNumbers]:
    """Return the row numbers of training, validation and test; no test rows for a named split."""
    data = task.data
    return split_rows(labels_E, data.validation, _counted_test(task), data.split, data.split_seed)


def _counted_test(task: TaskFile) -> int:
    """Return the number of test rows that are training rows; 0 for a named split."""
    return task.data.test if isinstance(task.data.test, int) else 0


def _check_rows(task: TaskFile, rows: int) -> None:
    """Raise TaskError if validation and test leave no row to train on."""
    test = _counted_test(task)
    held_out = task.data.validation + test
    if rows <= held_out:
        counts = f"{task.data.validation} for validation" + (
            f" and {test} for test" if test else ""
        )
        raise TaskError(
            f"task {task.name!r}: {rows} examples are too few: {counts} leave none to train on"
        )


def _from_library(
    task: TaskFile, backbone: BackboneFiles, folder: Path, *, fetch: bool
) -> TaskData:
    data, where = task.data, f"task {task.name!r}"
    columns = (data.input, data.label if task.labels else None, data.group, data.split_column)
    splits = open_splits(
        data.dataset,
        folder,
        Reading(frozenset(filter(None, columns)), CsvForm(data.delimiter, data.decimal)),
        config=data.config,
        revision=data.revision,
        fetch=fetch,
    )
    check_fit(task, backbone.config)
    chosen = [name for name in (data.train, data.test) if isinstance(name, str)]
    unused: Mapping[str, int] = {}
    if data.split_column is None:
        parts = select_rows(splits, chosen, where)
    else:
        parts, unused = divide_rows(splits, chosen, data.split_column, where)
    if len(parts) == 2 and data.split_column is None and splits[chosen[0]] is splits[chosen[1]]:
        raise TaskError(
            f"{where}: data.train {chosen[0]!r} and data.test {chosen[1]!r} are one split"
        )
    pool, held = parts[0], parts[-1]
    kept = [_rows_with_input(task, rows) for rows in parts]
    _check_rows(task, len(kept[0]))
    labels = [np.zeros(len(rows), dtype=np.int64) for rows in parts]
    names: tuple[str, ...] = ()
    if task.labels:
        labels, names = class_numbers(parts, data.label, task.labels)
    train, validation, counted = (kept[0][part] for part in _split(task, labels[0][kept[0]]))
    test = counted if isinstance(data.test, int) else kept[1]
    groups = None if data.group is None else group_numbers(pool, data.group)
    train = _apply_limit(task, train, groups)
    parts_read = [
        read_inputs(task, backbone, *part)
        for part in ((pool, train), (pool, validation), (held, test))
    ]
    fit, checked, tested = parts_read
    return TaskData(
        (fit.x, labels[0][fit.rows]),
        (checked.x, labels[0][checked.rows]),
        (tested.x, labels[-1][tested.rows]),
        None if groups is None else np.unique(groups[fit.rows], return_inverse=True)[1],
        names,
        fit.cut,
        _files_read(splits, unused),
        tuple(one.marks for one in parts_read if one.marks is not None) or None,
    )


def _files_read(splits: Splits, unused: Mapping[str, int]) -> FilesRead:
    """Return how the files were read, with the files of splits that were not read as left out."""
    read = splits.read()
    unread = [path for name, files in splits.files.items() if name not in read for path in files]
    return FilesRead(
        {name: len(rows.table) for name, rows in read.items()},
        tuple(sorted(map(str, (*splits.left_out, *unread)))),
        {name: rows.form for name, rows in read.items() if rows.form},
        unused,
    )


def _rows_with_input(task: TaskFile, rows: DataTable) -> RowNumbers:
    """Return the numbers of the rows with an input; every image counts, empty texts do not."""
    if task.kind == "image-classification":
        rows.require("data.input", task.data.input)
        return np.arange(len(rows))
    empty = blank_rows(rows, task.data.input)
    refuse_empty(task, rows, empty)
    return np.setdiff1d(np.arange(len(rows)), empty)


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
