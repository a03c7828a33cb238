"""Examples read without the ``datasets`` library: scikit-learn's digits and npz files."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import TaskError

Arrays = tuple[NDArray[Any], NDArray[np.int64]]  # inputs (see TaskData), classes
Pictures = tuple[NDArray[np.float32], NDArray[Any]]  # images (E, C, H, W), integer classes (E,)
DIGITS = "sklearn-digits"
# Errors of zipfile and numpy for files that are not npz, are cut short or are damaged.
_UNREADABLE = (OSError, ValueError, EOFError, RuntimeError, BadZipFile, zlib.error)


def load_digits() -> Arrays:
    """Return scikit-learn's 1,797 handwritten digits: x (1797, 1, 8, 8) in 0 to 1, y 0 to 9."""
    from sklearn import datasets

    bunch = datasets.load_digits()
    return (bunch.images[:, None] / 16).astype(np.float32), bunch.target.astype(np.int64)


def load_npz(path: Path) -> Pictures:
    """Return the images ``x`` (as float32) and the classes ``y`` (as stored) of an npz file.

    Nothing is unpickled.

    Raises:
        TaskError: The file or an array is missing, or a shape or a type is wrong.
    """
    try:
        with path.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as arrays:
            x, y = np.asarray(arrays["x"]), np.asarray(arrays["y"])
    except KeyError:
        raise TaskError(f"{path}: expected arrays named x and y") from None
    except _UNREADABLE as error:
        raise TaskError(f"cannot read {path}: {error}") from None
    if y.ndim != 1 or x.shape[:1] != y.shape or y.dtype.kind not in "iu":
        raise TaskError(f"{path}: y must hold one integer class for each row of x {x.shape}")
    if x.ndim != 4:
        raise TaskError(
            f"{path}: x has shape {x.shape}; valid: (examples, channels, height, width)"
        )
    if x.dtype.kind not in "fiu" or not (np.abs(x) <= np.finfo(np.float32).max).all():
        raise TaskError(f"{path}: x must hold finite numbers within float32")
    return x.astype(np.float32), y
