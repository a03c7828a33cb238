"""Inputs of the chosen rows of a split: decoded images, or token ids of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import TaskError
from floss_sim.families import Config
from floss_sim.tasks.backbone_files import BackboneFiles
from floss_sim.tasks.columns import DataTable
from floss_sim.tasks.duplicates import Marks, text_marks
from floss_sim.tasks.images import decode_images
from floss_sim.tasks.sections import TaskFile
from floss_sim.tasks.task_data import RowNumbers
from floss_sim.tasks.text import check_vocabulary, open_tokenizer, tokenise


@dataclass(frozen=True, eq=False)
class Inputs:
    """Inputs of one part (see TaskData) and their rows; fraction cut and marks are of texts."""

    x: NDArray[Any]
    rows: RowNumbers
    cut: float | None = None
    marks: Marks | None = None


def read_inputs(
    task: TaskFile, backbone: BackboneFiles, rows: DataTable, chosen: RowNumbers
) -> Inputs:
    """Return the inputs of the chosen rows that are not empty.

    Raises:
        TaskError: A cell holds no image or no text, or the backbone cannot read its tokens.
    """
    name = rows.require("data.input", task.data.input)
    if task.kind == "image-classification":
        return Inputs(_images(task, backbone.config, rows, name, chosen), chosen)
    return _tokens(task, backbone, rows, name, chosen)


def _images(
    task: TaskFile, backbone: Config, rows: DataTable, name: str, chosen: RowNumbers
) -> NDArray[np.uint8]:
    if not rows.holds_images(name):
        raise TaskError(f"{rows.where}: column {name!r} holds no images")
    return decode_images(
        lambda: (
            _image_cell(rows, row, cell)
            for row, cell in zip(chosen, chain.from_iterable(rows.cells(name, chosen)), strict=True)
        ),
        channels=1 if backbone.get("num_channels") == 1 else 3,
        side=task.preprocess.image_size,
        where=rows.where,
    )


def _image_cell(rows: DataTable, row: int, cell: Any) -> tuple[str, Mapping[str, Any]]:
    """Return the name of an image for error messages, and its bytes or path.

    Raises:
        TaskError: The cell is empty, or holds no bytes and only the relative path of a file. Which
            folder the path starts from is not known.
    """
    whole = cell if isinstance(cell, dict) else {"bytes": cell}
    blob, path = whole.get("bytes"), whole.get("path")
    if not (blob or path):
        raise TaskError(
            f"{rows.describe_row(row)}: cannot read the image: empty or of unknown format"
        )
    if not blob and not (isinstance(path, str) and Path(path).is_absolute()):
        raise TaskError(
            f"{rows.describe_row(row)}: the cell holds no bytes, only the path {path!r}; valid: "
            "the bytes of the image's file, or an absolute path"
        )
    place = f"{rows.where}, {path}" if path else rows.describe_row(row)
    return place, {"bytes": blob, "path": path}


def _tokens(
    task: TaskFile, backbone: BackboneFiles, rows: DataTable, name: str, chosen: RowNumbers
) -> Inputs:
    tokenizer = open_tokenizer(backbone.path, task.preprocess.max_length or 0)
    marks = text_marks(chain.from_iterable(rows.cells(name, chosen)))
    texts = tokenise(rows.cells(name, chosen), tokenizer)
    check_vocabulary(texts.ids, backbone.config, rows.where)
    full = texts.words > 0
    if task.kind == "next-token":
        full &= (texts.ids >= 0).sum(axis=1) > 1
    refuse_empty(task, rows, chosen[~full])
    if not full.any():
        raise TaskError(f"{rows.where}: every text is empty or too short")
    return Inputs(texts.ids[full], chosen[full], float(texts.cut[full].mean()), marks[full])


def refuse_empty(task: TaskFile, rows: DataTable, empty: Sequence[int] | RowNumbers) -> None:
    """Raise TaskError if there are empty texts, unless the task leaves them out."""
    if len(empty) and not task.data.drop_empty:
        least = "two tokens" if task.kind == "next-token" else "one token"
        raise TaskError(
            f"{rows.describe_row(empty[0])}: the text is empty or has fewer than {least}; "
            "data.drop_empty = true leaves such rows out"
        )
