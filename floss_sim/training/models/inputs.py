"""From a task's arrays to what a model reads, and from its logits to what they should have been.

Shapes: E examples, C channels, H x W pixels, T tokens, K classes or words, M targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers import PretrainedConfig

from floss_sim.errors import TaskError
from floss_sim.families import IMAGES, NEXT_TOKEN
from floss_sim.tasks import Task

Tensors = tuple[torch.Tensor, torch.Tensor]
IGNORED_LABEL = -100  # a label that torch's cross-entropy passes over, and its gradient with it


class Reader(Protocol):
    """What a task kind makes of its examples."""

    @property
    def rows(self) -> int:
        """How many examples fit in a batch that is only measured."""

    def read(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the model's keyword arguments for a batch.

        Raises:
            TaskError: Inputs that the backbone cannot read.
        """

    def targets(self, logits: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> Tensors:
        """Return (logits (M, K), targets (M,)) of a batch."""

    def labels(self, x: torch.Tensor, y: torch.Tensor, tokens: int) -> torch.Tensor:
        """Return the target of each row of a batch's logits, NOTHING where there is none.

        Args:
            x: The batch.
            y: Its classes.
            tokens: Its :meth:`length`.
        """

    def counts(self, clients: Sequence[torch.Tensor]) -> list[int]:
        """Return how many targets each client's examples have."""

    def lengths(self, clients: Sequence[torch.Tensor]) -> list[int | None]:
        """Return how many tokens of each client's examples are read; None where there are none."""

    def length(self, x: torch.Tensor) -> int:
        """Return how many tokens of a batch are read; 0 where all batches have equally many."""

    def has_targets(self, x: torch.Tensor, batch: NDArray[np.int64]) -> bool:
        """Return whether a batch of a split has any target."""


@dataclass(frozen=True)
class ImageReader:
    """Images (E, C, H, W): float32 as they are; uint8 from 0 to 1, then normalised.

    Either is resized (bilinear, with antialiasing) where its size is another than ``size``.
    """

    size: int | None
    mean: Sequence[float] | None
    std: Sequence[float] | None
    expected: tuple[int, int, int]  # what the backbone reads: channels, height, width
    rows: int = 512

    def read(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return ``pixel_values``, float32 of shape (E, C, H, W)."""
        whole = x.dtype == torch.uint8
        pixels = x.float() / 255 if whole else x
        if self.size and x.shape[-2:] != (self.size, self.size):
            pixels = functional.interpolate(
                pixels, (self.size, self.size), mode="bilinear", antialias=True
            )
        if pixels.shape[1:] != self.expected:
            raise TaskError(
                f"images are {_shape_text(pixels.shape[1:])} where the backbone reads "
                f"{_shape_text(self.expected)} (channels x height x width); "
                f"preprocess.image_size can resize them"
            )
        if whole and self.mean is not None:
            pixels = pixels - pixels.new_tensor(self.mean).view(-1, 1, 1)
        if whole and self.std is not None:
            pixels = pixels / pixels.new_tensor(self.std).view(-1, 1, 1)
        return {"pixel_values": pixels}

    def targets(self, logits: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> Tensors:
        """Return the logits and the classes as they are."""
        return logits, y

    def labels(self, x: torch.Tensor, y: torch.Tensor, tokens: int) -> torch.Tensor:
        """Return the classes."""
        return y

    def counts(self, clients: Sequence[torch.Tensor]) -> list[int]:
        """Return the number of images."""
        return [len(x) for x in clients]

    def lengths(self, clients: Sequence[torch.Tensor]) -> list[int | None]:
        """Return nothing: all images have equally many patches."""
        return [None] * len(clients)

    def length(self, x: torch.Tensor) -> int:
        """Return 0: all images have equally many patches."""
        return 0

    def has_targets(self, x: torch.Tensor, batch: NDArray[np.int64]) -> bool:
        """Return True: every image has a class."""
        return True


def _shape_text(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


@dataclass(frozen=True)
class TextReader:
    """Tokens (E, T), int32, padded at the right with -1; classified as a whole.

    GPT-2 and Llama classify at the last token that is not the padding token. Where a config has
    no padding token of its own, a text that ends in the one chosen is read up to there.
    """

    pad: int
    words: int
    positions: int
    rows: int = 64

    def read(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return ``input_ids`` and ``attention_mask``, cut to the longest text of the batch."""
        length = _longest_length(x)
        tokens = x[:, :length].long()
        if length > self.positions:
            raise TaskError(
                f"a text has {length} tokens where the backbone reads {self.positions}; "
                "preprocess.max_length cuts texts"
            )
        if int(tokens.max()) >= self.words:
            raise TaskError(
                f"token {int(tokens.max())} is outside the backbone's {self.words} words; "
                "were the texts made with its own tokenizer?"
            )
        real = tokens >= 0
        return {"input_ids": tokens.masked_fill(~real, self.pad), "attention_mask": real.long()}

    def targets(self, logits: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> Tensors:
        """Return the logits and the classes as they are."""
        return logits, y

    def labels(self, x: torch.Tensor, y: torch.Tensor, tokens: int) -> torch.Tensor:
        """Return the classes."""
        return y

    def counts(self, clients: Sequence[torch.Tensor]) -> list[int]:
        """Return the number of texts."""
        return [len(x) for x in clients]

    def lengths(self, clients: Sequence[torch.Tensor]) -> list[int | None]:
        """Return the tokens of each client's longest text."""
        return [_longest_length(x) for x in clients]

    def length(self, x: torch.Tensor) -> int:
        """Return the tokens of the longest text."""
        return _longest_length(x)

    def has_targets(self, x: torch.Tensor, batch: NDArray[np.int64]) -> bool:
        """Return True: every text has a class."""
        return True


def _longest_length(x: torch.Tensor) -> int:
    return max(1, int((x >= 0).sum(dim=1).max()))


@dataclass(frozen=True)
class NextTokenReader(TextReader):
    """The same tokens; at each one the next is to be predicted, padding left out."""

    rows: int = 16  # logits are as wide as the vocabulary

    def targets(self, logits: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> Tensors:
        """Return logits at t and tokens at t + 1, wherever both are real; ``y`` is not used."""
        labels = self.labels(x, y, logits.shape[1])
        real = labels >= 0
        return logits.flatten(0, 1)[real], labels[real]

    def labels(self, x: torch.Tensor, y: torch.Tensor, tokens: int) -> torch.Tensor:
        """Return the token that follows each one, text after text."""
        following = functional.pad(x[:, 1:tokens].long(), (0, 1), value=IGNORED_LABEL)
        return following.masked_fill(following < 0, IGNORED_LABEL).flatten()

    def counts(self, clients: Sequence[torch.Tensor]) -> list[int]:
        """Return the number of tokens that follow another."""
        counts = [(x[:, 1:] >= 0).sum() for x in clients]
        return torch.stack(counts).tolist()

    def has_targets(self, x: torch.Tensor, batch: NDArray[np.int64]) -> bool:
        """Return whether any text has two tokens."""
        return bool((x[:, 1:2][torch.from_numpy(batch).to(x.device)] >= 0).any())


def drop_full_mask(arguments: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a model's arguments without a mask that masks nothing.

    The model library does without it, too, but only where it may look: not while it is recorded.
    """
    mask = arguments.get("attention_mask")
    if mask is None or not mask.all():
        return arguments
    return {name: tensor for name, tensor in arguments.items() if tensor is not mask}


def reader(task: Task, backbone: PretrainedConfig) -> Reader:
    """Return what reads a task's examples for a loaded backbone."""
    chosen = task.preprocess
    if task.kind == IMAGES:
        side = backbone.image_size
        height, width = (side, side) if isinstance(side, int) else side
        expected = (backbone.num_channels, height, width)
        return ImageReader(chosen.image_size, chosen.mean, chosen.std, expected)
    sizes = backbone.pad_token_id, backbone.vocab_size, backbone.max_position_embeddings
    return NextTokenReader(*sizes) if task.kind == NEXT_TOKEN else TextReader(*sizes)
