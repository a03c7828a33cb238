"""Images decoded by Pillow into uint8 arrays of one size.

Pillow may try only the raster formats of ``FORMATS``, whose decoders run in this process: no
PostScript or PDF, and no other format that may start a program. A file holds at most
``MAX_FILE_BYTES``, an image at most ``MAX_PIXELS``; formats whose decoders take more memory have
a lower limit.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import TaskError
from floss_sim.tasks.hub import first_line

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TGA", "TIFF", "WEBP")
MAX_FILE_BYTES = 512 << 20
MAX_PIXELS = 30_000_000  # width times height; decoding takes up to 12 bytes of memory for each
_FEWER_PIXELS = {"JPEG2000": 16_000_000, "WEBP": 16_000_000}  # up to 20 bytes for each
_UNSHOWN = logging.NullHandler()  # with it, errors that Pillow logs do not go to stderr
ImageCells = Iterable[tuple[str, Mapping[str, Any]]]  # name for errors; cell with bytes or path


def decode_images(
    cells: Callable[[], ImageCells], channels: int, side: int | None, where: str
) -> NDArray[np.uint8]:
    """Return images as uint8 of shape (images, channels, height, width).

    Images that all have one size keep it, unless it is larger than ``side``. All others are
    resized to a square of ``side``, to hold no more pixels in memory than the backbone reads.
    16-bit grey is scaled to 8 bits; an alpha channel is dropped.

    Args:
        cells: Starts an iteration over the images; called twice, for sizes and for pixels.
        channels: 1 for grey, 3 for colour.
        side: ``preprocess.image_size`` in pixels, or None.
        where: Name of the images in error messages.

    Raises:
        TaskError: A cell holds no readable image, or the sizes differ and ``side`` is None.
    """
    sizes = [_open_image(cell, place).size for place, cell in cells()]
    size = _common_size(sizes, side, where)
    pixels = np.empty((len(sizes), channels, size[1], size[0]), dtype=np.uint8)
    for row, (place, cell) in enumerate(cells()):
        shown = _pixels(_open_image(cell, place), channels, size, place)
        pixels[row] = shown.transpose(2, 0, 1)
    return pixels


def _open_image(cell: Mapping[str, Any], where: str) -> Image:
    from PIL import Image, ImageOps

    with _image_errors(where):
        image = Image.open(io.BytesIO(_blob(cell)), formats=FORMATS)
        most = _FEWER_PIXELS.get(image.format or "", MAX_PIXELS)
        if image.width * image.height > most:
            raise TaskError(
                f"{where}: the image has {image.width} x {image.height} pixels; valid: at most "
                f"{most // 1_000_000} million"
            )
        with _quiet(image):
            ImageOps.exif_transpose(image, in_place=True)
        return image


@contextmanager
def _quiet(image: Image) -> Iterator[None]:
    """Keep libtiff, which decodes a TIFF in the block, from printing its own lines on stderr."""
    if image.format != "TIFF":
        yield
        return
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.flush()
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def _blob(cell: Mapping[str, Any]) -> bytes:
    """Return the bytes of an image's file.

    Raises:
        ValueError: The file is longer than ``MAX_FILE_BYTES``.
    """
    blob: bytes | None = cell["bytes"]
    if not blob:
        with Path(cell["path"]).open("rb") as file:  # a read reserves the memory it may need
            size = max(os.fstat(file.fileno()).st_size, 1 << 20)  # a device has no size
            blob = file.read(min(size, MAX_FILE_BYTES) + 1)
    if len(blob) > MAX_FILE_BYTES:
        raise ValueError(f"its file is longer than {MAX_FILE_BYTES >> 20} MiB")
    return blob


@contextmanager
def _image_errors(where: str) -> Iterator[None]:
    """Turn every error of Pillow into a TaskError of one line; its warnings are not shown.

    Raises:
        TaskError: The image cannot be read.
    """
    from PIL import Image, UnidentifiedImageError

    logging.getLogger("PIL").addHandler(_UNSHOWN)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except TaskError:
        raise
    except UnidentifiedImageError:  # Pillow's message only holds the address of a buffer
        raise TaskError(
            f"{where}: cannot read the image: empty or of unknown format; valid: "
            f"{', '.join(FORMATS)}"
        ) from None
    except Image.DecompressionBombError:  # Pillow's own limit of 179 million pixels
        raise TaskError(
            f"{where}: the image has more than {MAX_PIXELS // 1_000_000} million pixels"
        ) from None
    except Exception as error:  # each format of Pillow raises errors of other types
        raise TaskError(f"{where}: cannot read the image: {first_line(error)}") from None


def _common_size(sizes: Sequence[tuple[int, int]], side: int | None, where: str) -> tuple[int, int]:
    different = sorted(set(sizes))
    if len(different) > 1 and side is None:
        (w, h), (w2, h2) = different[0], different[-1]
        raise TaskError(
            f"{where}: images differ in size, from {w}x{h} to {w2}x{h2}; set preprocess.image_size"
        )
    largest = max(max(size) for size in different) if different else 0
    if side is not None and (len(different) != 1 or largest > side):
        return side, side
    return different[0] if different else (0, 0)


def _pixels(image: Image, channels: int, size: tuple[int, int], where: str) -> NDArray[np.uint8]:
    from PIL import Image

    with _image_errors(where), _quiet(image):
        shown = _in_mode(_to_eight_bit(image, where), "L" if channels == 1 else "RGB")
        if shown.size != size:
            shown = shown.resize(size, Image.Resampling.BILINEAR)
        return np.asarray(shown).reshape(size[1], size[0], channels)


def _in_mode(image: Image, mode: str) -> Image:
    """Return an image in a mode; one that has it already is not copied."""
    image.load()  # only then is the mode of a GIF known
    return image if image.mode == mode else image.convert(mode)


def _to_eight_bit(image: Image, where: str) -> Image:
    """Return an image of 8 bits a channel: 16-bit grey scaled, transparent palettes as RGBA."""
    from PIL import Image

    if image.mode in ("I", "F"):
        raise TaskError(
            f"{where}: the image holds 32 bits a pixel (mode {image.mode}), for which the value of "
            "white is unknown; valid: 8 or 16 bits"
        )
    if image.mode.startswith("I;16"):
        grey = np.asarray(image)
        eight = np.empty(grey.shape, dtype=np.uint8)
        for row, line in zip(eight, grey, strict=True):  # scaled so that 65535 becomes 255
            row[:] = (line.astype(np.uint32) + 128) // 257
        return Image.fromarray(eight)
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA")  # Pillow warns if a palette with alpha goes directly to RGB
    return image
