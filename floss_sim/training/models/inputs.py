"""Input readers: model arguments from a task's arrays, and the targets of the model's logits.

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

from floss_sim.errors import TaskError
from floss_sim.families import IMAGES, NEXT_TOKEN, ModelInputs, model_inputs
from floss_sim.tasks import Task
from floss_sim.tasks.normalisation import Normalisation

Tensors = tuple[torch.Tensor, torch.Tensor]
_NO_LIMIT = 2**31 - 1  # tokens of a text, for a backbone that reads any length
IGNORED_LABEL = -100  # label that torch's cross-entropy skips: no loss and no gradient


class Reader(Protocol):
    """Interface of the readers, one per task kind: from examples to model inputs and targets."""

    @property
    def rows(self) -> int:
        """Number of examples in a batch of evaluation, at most."""

    def read(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the model's keyword arguments for a batch.

        Raises:
            TaskError: The backbone cannot read the inputs.
        """

    def targets(self, logits: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> Tensors:
        """Return (logits (M, K), targets (M,)) of a batch; rows without a target are removed."""

    def labels(self, x: torch.Tensor, y: torch.Tensor, tokens: int) -> torch.Tensor:
        """Return the target of each row of a batch's logits; IGNORED_LABEL if a row has none.

        Args:
            x: Inputs of the batch.
            y: Classes of the batch, shape (E,).
            tokens: Number of tokens that the model reads, from :meth:`length`.
        """

    def counts(self, clients: Sequence[torch.Tensor]) -> list[int]:
        """Return the number of targets of each client's examples."""

    def lengths(self, clients: Sequence[torch.Tensor]) -> list[int | None]:
        """Return the tokens of each client's longest text; None for images."""

    def length(self, x: torch.Tensor) -> int:
        """Return the number of tokens that the model reads of a batch; 0 for images."""

    def has_targets(self, x: torch.Tensor, batch: NDArray[np.int64]) -> bool:
        """Return whether a batch has any target.

        Args:
            x: Inputs of the split.
            batch: Indices of the batch's examples in the split.
        """


@dataclass(frozen=True)
class ImageReader:
    """Reader of images (E, C, H, W), float32 or uint8.

    uint8 images are multiplied by ``scale``, by default to 0 to 1, and normalised with ``mean`` and
    ``std``; float32 values are used unchanged. Images whose size is not ``size`` are resized
    (bilinear, with antialiasing).

    Args:
        size: Height and width to resize to, in pixels; None: no resizing.
        mean: Mean of each channel; None: nothing is subtracted.
        std: Standard deviation of each channel; None: no division.
        expected: Channels, height and width that the backbone reads; channels alone if it reads
            any size.
        rows: Number of images in a batch of evaluation, at most.
        scale: Factor of a pixel's value; None: 1 / 255.
    """

    size: int | None
    mean: Sequence[float] | None
    std: Sequence[float] | None
    expected: tuple[int, ...]
    rows: int = 512
    scale: float | None = None

    def read(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return ``pixel_values``, float32 of shape (E, C, H, W)."""
        whole = x.dtype == torch.uint8
        pixels = self._scaled(x) if whole else x
        if self.size and x.shape[-2:] != (self.size, self.size):
            pixels = functional.interpolate(
                pixels, (self.size, self.size), mode="bilinear", antialias=True
            )
        if pixels.shape[1:][: len(self.expected)] != self.expected:
            raise TaskError(
                f"images are {_shape_text(pixels.shape[1:])}, but the backbone reads "
                f"{_shape_text(self.expected)} (channels x height x width); "
                f"resize them with preprocess.image_size"
            )
        if whole and self.mean is not None:
            pixels = pixels - pixels.new_tensor(self.mean).view(-1, 1, 1)
        if whole and self.std is not None:
            pixels = pixels / pixels.new_tensor(self.std).view(-1, 1, 1)
        return {"pixel_values": pixels}

    def _scaled(self, x: torch.Tensor) -> torch.Tensor:
        return x.float() / 255 if self.scale is None else x.float() * self.scale

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
    """Reader of texts for classification: tokens (E, T), int32, padded on the right with -1.

    GPT-2 and Llama classify at the last token that is not the padding token. If a config defines
    no padding token, another token is used for padding (see ``loading.py``). A text that ends in
    that token is then classified at the last token before it.

    Args:
        pad: Id of the token used for padding.
        words: Size of the backbone's vocabulary.
        positions: Longest text that the backbone reads, in tokens.
        rows: Number of texts in a batch of evaluation, at most.
    """

    pad: int
    words: int
    positions: int
    rows: int = 64

    def read(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return ``input_ids`` and ``attention_mask``, as long as the batch's longest text."""
        length = _longest_length(x)
        tokens = x[:, :length].long()
        if length > self.positions:
            raise TaskError(
                f"a text has {length} tokens, but the backbone reads at most {self.positions}; "
                "cut texts with preprocess.max_length"
            )
        if int(tokens.max()) >= self.words:
            raise TaskError(
                f"token id {int(tokens.max())} is outside the backbone's vocabulary of "
                f"{self.words}; encode the texts with the backbone's own tokenizer"
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
        """Return the number of tokens of each client's longest text."""
        return [_longest_length(x) for x in clients]

    def length(self, x: torch.Tensor) -> int:
        """Return the number of tokens of the longest text."""
        return _longest_length(x)

    def has_targets(self, x: torch.Tensor, batch: NDArray[np.int64]) -> bool:
        """Return True: every text has a class."""
        return True


def _longest_length(x: torch.Tensor) -> int:
    return max(1, int((x >= 0).sum(dim=1).max()))


@dataclass(frozen=True)
class NextTokenReader(TextReader):
    """Reader of texts for next-token prediction; padding has no targets."""

    rows: int = 16  # examples; few, since logits are as wide as the vocabulary

    def targets(self, logits: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> Tensors:
        """Return (logits at t, token at t + 1) for all non-padding tokens; ``y`` is not used."""
        labels = self.labels(x, y, logits.shape[1])
        real = labels >= 0
        return logits.flatten(0, 1)[real], labels[real]

    def labels(self, x: torch.Tensor, y: torch.Tensor, tokens: int) -> torch.Tensor:
        """Return the next token of each token, shape (E * T,); IGNORED_LABEL if there is none."""
        following = functional.pad(x[:, 1:tokens].long(), (0, 1), value=IGNORED_LABEL)
        return following.masked_fill(following < 0, IGNORED_LABEL).flatten()

    def counts(self, clients: Sequence[torch.Tensor]) -> list[int]:
        """Return the number of tokens of each client, without the first token of each text."""
        counts = [(x[:, 1:] >= 0).sum() for x in clients]
        return torch.stack(counts).tolist()

    def has_targets(self, x: torch.Tensor, batch: NDArray[np.int64]) -> bool:
        """Return whether any text has two tokens."""
        return bool((x[:, 1:2][torch.from_numpy(batch).to(x.device)] >= 0).any())


def drop_full_mask(arguments: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a model's arguments without ``attention_mask`` if the mask hides no token.

    transformers drops such a mask too, but not while a CUDA graph is recorded, since the check
    reads values of the mask.
    """
    mask = arguments.get("attention_mask")
    if mask is None or not mask.all():
        return arguments
    return {name: tensor for name, tensor in arguments.items() if tensor is not mask}


def reader(task: Task) -> Reader:
    """Return the reader of a task's examples for its backbone.

    Raises:
        LayoutError: A size in the backbone's config is invalid.
    """
    inputs = model_inputs(task.backbone_config, task.kind)
    if task.kind == IMAGES:
        used = task.normalisation or Normalisation()
        return ImageReader(
            task.preprocess.image_size, used.mean, used.std, _expected(inputs), scale=used.scale
        )
    sizes = inputs.pad, inputs.words, inputs.positions or _NO_LIMIT
    return NextTokenReader(*sizes) if task.kind == NEXT_TOKEN else TextReader(*sizes)


def _expected(inputs: ModelInputs) -> tuple[int, ...]:
    return (inputs.channels, *(inputs.sides or ()))
