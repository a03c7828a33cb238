"""Images as uint8 arrays of one size, decoded by Pillow."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import TaskError
from floss_sim.tasks.hub import first_line

if TYPE_CHECKING:
    from PIL.Image import Image

ImageCells = Iterable[tuple[str, Mapping[str, Any]]]  # where each lies, and its bytes or path


def decode_images(
    cells: Callable[[], ImageCells], channels: int, side: int | None, where: str
) -> NDArray[np.uint8]:
    """Return images as uint8 of shape (images, channels, height, width).

    Images of one size keep it, unless it is larger than ``side``; others are resized to a square
    of ``side``, so that no more is held in memory than the backbone will see. Grey of 16 bits is
    scaled to 8; an alpha channel is dropped.

    Args:
        cells: Starts an iteration over the images; called twice, for sizes and for pixels.
        channels: 1 for grey, 3 for colour.
        side: ``preprocess.image_size``, or None.
        where: Names the images in errors.

    Raises:
        TaskError: A cell that is no image, or sizes that differ with no ``side`` to resize to.
    """
    sizes = [_open_image(cell, place).size for place, cell in cells()]
    size = _common_size(sizes, side, where)
    pixels = np.empty((len(sizes), size[1], size[0], channels), dtype=np.uint8)
    for row, (place, cell) in enumerate(cells()):
        pixels[row] = _pixels(_open_image(cell, place), channels, size, place)
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def _open_image(cell: Mapping[str, Any], where: str) -> Image:
    from PIL import Image, ImageOps

    with _image_errors(where):
        blob = cell["bytes"] or Path(cell["path"]).read_bytes()
        image = Image.open(io.BytesIO(blob))
        ImageOps.exif_transpose(image, in_place=True)
        return image


@contextmanager
def _image_errors(where: str) -> Iterator[None]:
    """Turn whatever Pillow raises into one line.

    Raises:
        TaskError: The image cannot be read.
    """
    from PIL import UnidentifiedImageError

    try:
        yield
    except TaskError:
        raise
    except UnidentifiedImageError:  # its own words are a buffer's address
        raise TaskError(f"{where}: cannot read the image: empty, or of no known format") from None
    except Exception as error:  # Pillow's readers of many formats, each with its own errors
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

    with _image_errors(where):
        shown = _to_eight_bit(image, where).convert("L" if channels == 1 else "RGB")
        if shown.size != size:
            shown = shown.resize(size, Image.Resampling.BILINEAR)
        return np.asarray(shown).reshape(size[1], size[0], channels)


def _to_eight_bit(image: Image, where: str) -> Image:
    """Return an image of 8 bits a channel, its grey scaled and a palette's transparency kept."""
    from PIL import Image

    if image.mode in ("I", "F"):
        raise TaskError(
            f"{where}: the image holds 32 bits a pixel (mode {image.mode}), whose white is not "
            "known; valid: 8 or 16 bits"
        )
    if image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.uint32)  # 65535 becomes 255
        return Image.fromarray(((grey + 128) // 257).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA")  # Pillow warns where the alpha of a palette gets lost at once
    return image
