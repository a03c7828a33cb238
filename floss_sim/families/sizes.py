"""Sizes of a model, read from its ``config.json``.

A key that configs may lack takes the model library's default; the sizes that make a model must
be there, since a config without them is more likely damaged than standard.
"""

from __future__ import annotations

from floss_sim.errors import LayoutError
from floss_sim.families.family import Config, SizeReader


def _positive_int(key: str, value: object) -> int:
    if type(value) is not int or value < 1:
        raise LayoutError(f"backbone config: {key} must be a whole number above 0, not {value!r}")
    return value


def key_reader(name: str, default: int | SizeReader | None = None) -> SizeReader:
    """Return the reader of a key; null counts as missing."""

    def read(config: Config) -> int:
        value = config.get(name)
        if value is None and default is not None:
            return default(config) if callable(default) else default
        return _positive_int(name, value)

    return read


def side_reader(name: str, axis: int, default: int) -> SizeReader:
    """Return the reader of one side of a key that holds a number or a pair."""

    def read(config: Config) -> int:
        value = config.get(name, default)
        sides = value if isinstance(value, list) and len(value) == 2 else [value, value]
        return _positive_int(name, sides[axis])

    return read


def product(one: SizeReader, other: SizeReader) -> SizeReader:
    """Return the product of two sizes."""
    return lambda config: one(config) * other(config)


def image_positions(config: Config) -> int:
    """Return the positions of an image model: one a patch, and the class token's."""
    rows, columns = (
        side_reader("image_size", axis, 224)(config) // side_reader("patch_size", axis, 16)(config)
        for axis in (0, 1)
    )
    return rows * columns + 1
