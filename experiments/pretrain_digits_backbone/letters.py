"""Letter images that imitate how the UCI handwritten digits were made.

Every glyph is stored once as a signed distance field; batches are warped, thresholded to a
32x32 bitmap and counted in 4x4 blocks, which gives 8x8 images with 17 grey levels in [0, 1].
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
import torch
from matplotlib.ft2font import FT2Font
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn import functional

TRAIN_FACES = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-BoldOblique",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-BoldOblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-BoldItalic",
)
HELD_OUT_FACES = ("DejaVuSansMono-Oblique", "DejaVuSerif-Italic")
LETTERS = string.ascii_uppercase + string.ascii_lowercase
# Size normalisation makes these cases look alike; EMNIST ByMerge joins the same letters.
MERGED = "cijklmopsuvwxyz"
CLASSES = [c for c in LETTERS if c not in MERGED]

FIELD = 64  # side of a stored distance field
FILL = 0.7  # half-height of a glyph in field coordinates, which run from -1 to 1
BITMAP = 32


@dataclass(frozen=True)
class Glyphs:
    """Distance fields and labels of a set of letters.

    Attributes:
        fields: Signed distances to the outline, positive inside, shape (n, 1, FIELD, FIELD).
        labels: Class indices into ``CLASSES``, shape (n,).
        strokes: Largest inside distance of each glyph, half its stroke width, shape (n,).
    """

    fields: Tensor
    labels: Tensor
    strokes: Tensor


def label_of(letter: str) -> int:
    """Returns the class index of a letter, with look-alike cases joined."""
    return CLASSES.index(letter.upper() if letter in MERGED else letter)


def render(font: FT2Font, letter: str) -> npt.NDArray[np.bool_]:
    """Renders one letter as a tightly cropped bitmap."""
    font.clear()
    font.set_text(letter)
    font.draw_glyphs_to_bitmap(antialiased=False)
    ink = np.asarray(font.get_image()) > 0
    rows, cols = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    return ink[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]


def distance_field(ink: npt.NDArray[np.bool_]) -> Tensor:
    """Turns a cropped bitmap into a centred signed distance field of fixed size."""
    side = int(max(ink.shape) / FILL)
    canvas = np.zeros((side, side), dtype=bool)
    top, left = (side - ink.shape[0]) // 2, (side - ink.shape[1]) // 2
    canvas[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    signed = distance_transform_edt(canvas) - distance_transform_edt(~canvas)
    field = torch.from_numpy(signed / (side / 2)).float()[None, None]
    return functional.interpolate(field, (FIELD, FIELD), mode="bilinear", antialias=True)


def load_glyphs(faces: tuple[str, ...]) -> Glyphs:
    """Builds the distance fields of all letters in the named DejaVu faces."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    fields = []
    for face in faces:
        font = FT2Font(str(folder / f"{face}.ttf"))
        font.set_size(200, 72)
        fields += [distance_field(render(font, letter)) for letter in LETTERS]
    stacked = torch.cat(fields)
    labels = torch.tensor([label_of(letter) for letter in LETTERS] * len(faces))
    return Glyphs(stacked, labels, stacked.amax((1, 2, 3)))


def uniform(n: int, low: float, high: float, rng: torch.Generator) -> Tensor:
    """Draws ``n`` uniform numbers between ``low`` and ``high``."""
    return low + (high - low) * torch.rand(n, generator=rng)


def random_affine(n: int, rng: torch.Generator) -> Tensor:
    """Draws ``n`` rotation-and-shear matrices, shape (n, 2, 2)."""
    angle, shear = uniform(n, -0.26, 0.26, rng), uniform(n, -0.35, 0.35, rng)
    cos, sin = angle.cos(), angle.sin()
    rows = [torch.stack([cos, cos * shear - sin], 1), torch.stack([sin, sin * shear + cos], 1)]
    return torch.stack(rows, 1)


def extent(ink: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Returns centre and half-length of the ink along one axis, in units of -1 to 1."""
    on = ink.any(axis).float()
    size = on.shape[1]
    first, last = on.argmax(1), size - on.flip(1).argmax(1)
    low, high = 2 * first / size - 1, 2 * last / size - 1
    return (low + high) / 2, (high - low).clamp(min=0.1) / 2


def refit(ink: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Chooses scale and offset that fit the ink to the box the UCI digits fill.

    The digits span all 8 rows and mostly 6 of the 8 columns, whatever their own shape.

    Args:
        ink: Warped glyphs, boolean, shape (n, size, size).
        rng: Source of the jitter.

    Returns:
        Scale and offset, each of shape (n, 1, 1, 2), that map output to warp coordinates.
    """
    n = len(ink)
    (x, half_width), (y, half_height) = extent(ink, 1), extent(ink, 2)
    scale_y = half_height / uniform(n, 0.92, 1.05, rng)
    # Narrow letters such as "l" are not stretched without limit.
    scale_x = torch.maximum(half_width / uniform(n, 0.5, 0.75, rng), scale_y / 2)
    shift_x, shift_y = uniform(n, -0.1, 0.1, rng), uniform(n, -0.04, 0.04, rng)
    scale = torch.stack([scale_x, scale_y], 1)
    offset = torch.stack([x - shift_x * scale_x, y - shift_y * scale_y], 1)
    return scale[:, None, None], offset[:, None, None]


def pixel_grid(size: int) -> Tensor:
    """Returns pixel centres of a square image in units of -1 to 1, shape (1, size, size, 2)."""
    axis = (2 * torch.arange(size) + 1) / size - 1
    rows, cols = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([cols, rows], -1)[None]


def draw_batch(glyphs: Glyphs, index: Tensor, rng: torch.Generator) -> Tensor:
    """Draws randomly warped 8x8 images of the chosen glyphs.

    Args:
        glyphs: The letters to choose from.
        index: Which glyphs to draw, shape (n,).
        rng: Source of the warps.

    Returns:
        Images with values k/16, shape (n, 1, 8, 8).
    """
    n = len(index)
    fields, half = glyphs.fields[index], glyphs.strokes[index]
    matrix = random_affine(n, rng)
    bend = 0.09 * torch.randn(n, 2, 4, 4, generator=rng)
    # Thinning is bounded so that hairlines of the serif faces survive.
    grow = torch.maximum(uniform(n, 0.08, 0.2, rng) - half, -0.4 * half)[:, None, None]

    def ink(points: Tensor) -> Tensor:
        moved = functional.grid_sample(bend, points, padding_mode="border", align_corners=False)
        places = torch.einsum("nij,nhwj->nhwi", matrix, points) + moved.permute(0, 2, 3, 1)
        sampled = functional.grid_sample(fields, places, padding_mode="border", align_corners=False)
        return sampled[:, 0] + grow > 0

    grid = pixel_grid(BITMAP).expand(n, -1, -1, -1)
    scale, offset = refit(ink(grid * 1.3), rng)
    bitmap = ink(grid * (scale * 1.3) + offset * 1.3)
    return functional.avg_pool2d(bitmap[:, None].float(), BITMAP // 8)
