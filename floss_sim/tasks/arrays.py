"""Examples read without the ``datasets`` library: scikit-learn's digits and npz files.

Sizes in an npz file are checked against each other and against the machine's memory before an
array is allocated.
"""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import TaskError
from floss_sim.toml_json import shorten_line

Arrays = tuple[NDArray[Any], NDArray[np.int64]]  # inputs (see TaskData), classes
Pictures = tuple[NDArray[np.float32], NDArray[Any]]  # images (E, C, H, W), integer classes (E,)
DIGITS = "sklearn-digits"
MAX_HEADER = 10_000  # bytes of the header of an array; numpy writes 118
MAX_RATIO = 200  # unpacked to packed bytes of an array above _FREE_BYTES
_FREE_BYTES = 64 << 20  # unpacked bytes of an array that may be packed at any ratio
_MAX_DIRECTORY = 1 << 20  # bytes that zipfile may read at once: the file's directory
_MAGIC = b"PK\x03\x04"  # first bytes of a zip file
_EMPTY_MAGIC = b"PK\x05\x06"  # first bytes of a zip file without members
_ENCRYPTED = 1  # bit of a member's flags
# Errors of zipfile and numpy for files that are not npz, are cut short or are damaged.
_UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    RuntimeError,
    TypeError,
    SyntaxError,
    MemoryError,
    OverflowError,
    zipfile.BadZipFile,
    zlib.error,
)


class _BoundedFile(io.FileIO):
    """A file of which one read returns at most 1 MiB, so that a zip's directory has a limit."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Return at most ``size`` bytes.

        Raises:
            ValueError: More than 1 MiB is asked for at once.
        """
        if size is not None and size > _MAX_DIRECTORY:
            raise ValueError(f"its directory is longer than {_MAX_DIRECTORY >> 20} MiB")
        return super().read(_MAX_DIRECTORY if size is None or size < 0 else size)


def load_digits() -> Arrays:
    """Return scikit-learn's 1,797 handwritten digits: x (1797, 1, 8, 8) in 0 to 1, y 0 to 9."""
    x, y = _digits()
    return x.copy(), y.copy()


@cache
def _digits() -> Arrays:
    """Return the arrays of :func:`load_digits`, of which a process parses the file once."""
    from sklearn import datasets

    bunch = datasets.load_digits()
    return (bunch.images[:, None] / 16).astype(np.float32), bunch.target.astype(np.int64)


def load_npz(path: Path) -> Pictures:
    """Return the images ``x`` (as float32) and the classes ``y`` (as stored) of an npz file.

    Nothing is unpickled.

    Raises:
        TaskError: The file or an array is missing, a shape or a type is wrong, or a size is
            impossible: a header above 10,000 bytes, an array whose length is not that of its
            shape, one above 64 MiB that is packed more than 200 to 1, or one that does not fit
            into the machine's memory.
    """
    try:
        with _open_zip(path) as members:
            for name in ("x", "y"):
                members.getinfo(f"{name}.npy")
            x = _read_array(members, "x", "fiu", dimensions=4)
            y = _read_array(members, "y", "iu", dimensions=1)
    except KeyError:
        raise TaskError(f"{path}: expected arrays named x and y") from None
    except TaskError as error:
        raise TaskError(f"{path}: {shorten_line(str(error))}") from None
    except NotImplementedError:
        raise TaskError(f"cannot read {path}: packed by a method that numpy does not use") from None
    except _UNREADABLE as error:
        said = getattr(error, "strerror", None) or " ".join(str(error).split())
        said = shorten_line(said or type(error).__name__)
        raise TaskError(f"cannot read {path}: {said}") from None
    if x.shape[:1] != y.shape:
        raise TaskError(f"{path}: y must hold one integer class for each row of x {x.shape}")
    if not (np.abs(x) <= np.finfo(np.float32).max).all():
        raise TaskError(f"{path}: x must hold finite numbers within float32")
    return x.astype(np.float32), y


@contextmanager
def _open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Yield the members of a zip file that begins at the file's first byte, as numpy asks for.

    Raises:
        BadZipFile: It does not, or is damaged.
    """
    with _BoundedFile(path) as file:
        if file.read(len(_MAGIC)) not in (_MAGIC, _EMPTY_MAGIC):
            raise zipfile.BadZipFile("File is not a zip file")
        with zipfile.ZipFile(file) as members:
            yield members


def _read_array(
    members: zipfile.ZipFile, name: str, kinds: str, *, dimensions: int
) -> NDArray[Any]:
    """Return an array of a zip file after checking its sizes.

    Args:
        members: The npz file.
        name: Name of the array.
        kinds: The valid kinds of numpy's types.
        dimensions: The valid number of dimensions.

    Raises:
        KeyError: There is no such array.
        TaskError: A size, the type or the shape is wrong.
    """
    info = members.getinfo(f"{name}.npy")
    _check_member(info, name)
    with members.open(info) as file:
        shape, fortran, dtype, header = _read_header(file, name)
        if dtype.kind not in kinds or len(shape) != dimensions or min(shape, default=0) < 0:
            raise TaskError(_expected(name, shape, dtype))
        count = int(np.prod([int(length) for length in shape], dtype=object))
        if count * dtype.itemsize != info.file_size - header:
            raise TaskError(
                f"{name} of shape {shape} and type {dtype} needs {count * dtype.itemsize:,} bytes; "
                f"the file holds {info.file_size - header:,}"
            )
        values = np.empty(count, dtype)
        _fill(file, values)
    return values.reshape(shape[::-1]).transpose() if fortran else values.reshape(shape)


def _expected(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    if name == "y":
        return f"y has shape {shape} and type {dtype}; y must hold one integer class for each row"
    return (
        f"x has shape {shape} and type {dtype}; valid: numbers of shape (examples, channels, "
        "height, width)"
    )


def _check_member(info: zipfile.ZipInfo, name: str) -> None:
    """Raise TaskError if an array is encrypted, packed by another method, or of impossible size."""
    if info.flag_bits & _ENCRYPTED:
        raise TaskError(f"{name} is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise TaskError(f"{name} is packed by a method that numpy does not use")
    if info.file_size > max(_FREE_BYTES, MAX_RATIO * info.compress_size):
        raise TaskError(
            f"{name} unpacks from {info.compress_size:,} to {info.file_size:,} bytes; valid above "
            f"{_FREE_BYTES >> 20} MiB: at most {MAX_RATIO} to 1"
        )
    if info.file_size > _memory_bytes():
        raise TaskError(
            f"{name} holds {info.file_size:,} bytes, more than the {_memory_bytes():,} of this "
            "machine's memory"
        )


def _memory_bytes() -> int:
    """Return the bytes of this machine's memory; 1 TiB where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 1 << 40


def _read_header(file: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Return shape, order, type and header length in bytes of an array.

    Raises:
        TaskError: The header is longer than ``MAX_HEADER`` or holds something else.
    """
    magic = file.read(8)
    width = {b"\x93NUMPY\x01\x00": 2, b"\x93NUMPY\x02\x00": 4, b"\x93NUMPY\x03\x00": 4}.get(magic)
    if width is None:
        raise TaskError(f"{name} is not an array of numpy")
    length = int.from_bytes(file.read(width), "little")
    if length > MAX_HEADER:
        raise TaskError(f"the header of {name} has {length:,} bytes; valid: at most {MAX_HEADER:,}")
    text = file.read(length)
    if len(text) != length:
        raise TaskError(f"the header of {name} is cut short")
    read = (
        np.lib.format.read_array_header_1_0 if width == 2 else np.lib.format.read_array_header_2_0
    )
    try:
        shape, fortran, dtype = read(io.BytesIO(length.to_bytes(width, "little") + text))
    except Exception:  # the parsers of Python and numpy raise errors of many types
        raise TaskError(f"the header of {name} cannot be read") from None
    return shape, fortran, dtype, len(magic) + width + length


def _fill(file: IO[bytes], values: NDArray[Any]) -> None:
    """Fill an array with a stream's bytes, and read the stream to its end, where it is checked.

    Raises:
        EOFError: The stream ends early.
    """
    target = values.view(np.uint8)
    filled = 0
    while chunk := file.read(1 << 18):
        target[filled : filled + len(chunk)] = np.frombuffer(chunk, dtype=np.uint8)
        filled += len(chunk)
    if filled != values.nbytes:
        raise EOFError("an array is cut short")
