"""Readers of model sizes in a backbone's ``config.json``.

An optional key has the model library's default. The main sizes, such as the width, have no
default: a config without them is more likely damaged than standard.
"""

from __future__ import annotations

from floss_sim.errors import LayoutError
from floss_sim.families.family import Config, SizeReader

_MOST = 2**31 - 1  # of any size


def _positive_int(key: str, value: object, most: int = _MOST) -> int:
    if type(value) is not int or value < 1:
        raise LayoutError(
            f"backbone config: {key} must be a whole number above 0, not {_short(value)}"
        )
    if value > most:
        raise LayoutError(f"backbone config: {key} is {_short(value)}; valid: 1 to {most}")
    return value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def key_reader(name: str, default: int | SizeReader | None = None, most: int = _MOST) -> SizeReader:
    """Return a reader of an integer key.

    Args:
        name: Key in the config.
        default: Value, or reader of it, where the key is missing or null; None: required.
        most: Largest valid value.
    """

    def read(config: Config) -> int:
        value = config.get(name)
        if value is None and default is not None:
            return default(config) if callable(default) else default
        return _positive_int(name, value, most)

    return read


def side_reader(name: str, axis: int, default: int) -> SizeReader:
    """Return a reader of one side of a key that holds a number or a pair.

    Args:
        name: Key in the config.
        axis: 0 for the first number of a pair, 1 for the second.
        default: Length of the side where the key is missing.
    """

    def read(config: Config) -> int:
        value = config.get(name, default)
        sides = value if isinstance(value, list) and len(value) == 2 else [value, value]
        return _positive_int(name, sides[axis])

    return read


def product(one: SizeReader, other: SizeReader) -> SizeReader:
    """Return a reader of the product of two sizes."""
    return lambda config: one(config) * other(config)


attention_heads = key_reader("num_attention_heads", key_reader("n_head", 12))


def image_positions(config: Config) -> int:
    """Return the number of positions of an image model: one per patch, and the class token."""
    rows, columns = (
        side_reader("image_size", axis, 224)(config) // side_reader("patch_size", axis, 16)(config)
        for axis in (0, 1)
    )
    return rows * columns + 1
