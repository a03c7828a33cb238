"""Inputs of a model: sizes of texts and images that it reads, and its padding token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from floss_sim.families.family import IMAGES, Config, Family
from floss_sim.families.sizes import side_reader

_SIDE = 224  # pixels
PADDING_KEYS = ("pad_token_id", "eos_token_id")


@dataclass(frozen=True)
class ModelInputs:
    """What a model of one task kind reads.

    Attributes:
        words: Size of the vocabulary; 0 for images.
        positions: Longest text in tokens; None if there is no limit, and for images.
        pad: Id of the token that fills batches of texts; always masked.
        pad_key: Key of the config that states it; empty if none does.
        channels: Channels of an image; 0 for texts.
        sides: Height and width of an image in pixels; None if any size is read, and for texts.
        patch: Height and width of a patch in pixels.
        encoder_decoder: Whether the model has two stacks, an encoder and a decoder.
    """

    words: int = 0
    positions: int | None = None
    pad: int = 0
    pad_key: str = ""
    channels: int = 0
    sides: tuple[int, int] | None = None
    patch: tuple[int, int] = (16, 16)
    encoder_decoder: bool = False

    def image_tokens(self, side: int | None) -> int:
        """Return the tokens of an image: its patches, and one for the class.

        Args:
            side: Side of an image in pixels, if the model reads any size; None: 224.
        """
        height, width = self.sides or (side or _SIDE,) * 2
        return height // self.patch[0] * (width // self.patch[1]) + 1

    def to_json(self) -> dict[str, Any]:
        """Return the inputs as plain values."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ModelInputs:
        """Return the inputs of plain values, as :meth:`to_json` returns them.

        Raises:
            TypeError: A value has another form than :meth:`to_json` writes.
        """
        pairs: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in content.items()
        }
        return cls(**pairs)


def chosen_padding(stated: Mapping[str, Any], words: int) -> tuple[int, str]:
    """Return the id of the padding token and the key of the config that it comes from.

    It is the config's own padding token if that is in the vocabulary, else its end token, else 0
    (with an empty key). Padding is masked; but decoders classify at the last token of a text that
    is not the padding token.

    Args:
        stated: Ids of special tokens by key of the config.
        words: Size of the vocabulary.
    """
    for key in PADDING_KEYS:
        value = stated.get(key)
        for token in value if isinstance(value, list) else [value]:
            if type(token) is int and 0 <= token < words:
                return token, key
    return 0, ""


def family_inputs(family: Family, config: Config, kind: str) -> ModelInputs:
    """Return what a model of a known family reads, by arithmetic on its ``config.json``.

    Raises:
        LayoutError: A size in the config is missing or invalid.
    """
    if kind == IMAGES:
        height, width = (side_reader("image_size", axis, 224)(config) for axis in (0, 1))
        rows, columns = (family.sizes[f"patch_{axis}"](config) for axis in ("rows", "columns"))
        return ModelInputs(
            channels=family.sizes["channels"](config), sides=(height, width), patch=(rows, columns)
        )
    words = family.sizes["words"](config)
    token, key = chosen_padding({**family.special_tokens, **config}, words)
    return ModelInputs(
        words=words, positions=family.sizes["positions"](config), pad=token, pad_key=key
    )
