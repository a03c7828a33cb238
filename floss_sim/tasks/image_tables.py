"""Rows of an image folder: one row an image, with its class or the columns of a metadata file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from floss_sim.errors import TaskError
from floss_sim.tasks.folder_splits import FolderSplits
from floss_sim.tasks.split_rows import SplitRows, dataset_of
from floss_sim.tasks.table_cells import TableCells

_FILE_NAME = "file_name"


def image_rows(
    found: FolderSplits, split: str, described: TableCells | None, where: Path
) -> SplitRows:
    """Return the images of a split, in the order of their paths or of their metadata file.

    Without metadata the columns are ``image`` and ``label``, where the label is the name of the
    image's folder; the classes are the sorted names of such folders in all splits. With metadata
    they are ``image`` and the columns of the metadata file.

    Args:
        found: The splits of the folder.
        split: The name of the split.
        described: The cells of the split's metadata file, or None.
        where: The folder, for error messages.

    Raises:
        TaskError: The metadata file names an image twice, names a file that is no image of the
            split, or leaves an image out.
    """
    import datasets

    paths = found.files[split]
    features: dict[str, Any] = {"image": datasets.Image()}
    if described is None:
        names = sorted({path.parent.name for files in found.files.values() for path in files})
        number = {name: at for at, name in enumerate(names)}
        labels = pa.array([number[path.parent.name] for path in paths], pa.int64())
        table = pa.table({"image": _cells(paths), "label": labels})
        features["label"] = datasets.ClassLabel(names=names)
        return SplitRows(dataset_of(table, features), ("image", "label"))
    pictures = _described_paths(found.metadata[split][0], paths, described, where)
    table = described.table.drop_columns([_FILE_NAME])
    if "image" in table.column_names:
        raise TaskError(f"cannot read {where}: its metadata has a column named image")
    columns = ("image", *(name for name in described.columns if name != _FILE_NAME))
    table = table.add_column(0, "image", _cells(pictures))
    return SplitRows(dataset_of(table), columns, described.mixed, described.form)


def _cells(paths: Sequence[Path]) -> pa.Array:
    """Return cells that name image files, in the form of the ``datasets`` library."""
    cells = [{"bytes": None, "path": str(path.absolute())} for path in paths]
    return pa.array(cells, pa.struct({"bytes": pa.binary(), "path": pa.string()}))


def _described_paths(
    metadata: Path, paths: Sequence[Path], described: TableCells, where: Path
) -> list[Path]:
    """Return the image of each row of the metadata."""
    if _FILE_NAME not in described.table.column_names:
        raise TaskError(f"cannot read {metadata}: it has no single column {_FILE_NAME}")
    column = described.table[_FILE_NAME]
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise TaskError(f"cannot read {metadata}: column {_FILE_NAME} holds {column.type}")
    names = column.to_pylist()
    own = {path.relative_to(metadata.parent).as_posix(): path for path in paths}
    if len(set(names)) < len(names):
        raise TaskError(f"cannot read {metadata}: it names an image twice")
    if strange := sorted(map(str, set(names) - own.keys())):
        raise TaskError(f"cannot read {metadata}: {strange[0]!r} is no image of this split")
    if missing := sorted(own.keys() - set(names)):
        raise TaskError(f"cannot read {where}: {missing[0]} is not in {metadata.name}")
    return [own[name] for name in names]
