"""Texts as token ids, by the tokenizer that lies beside the backbone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import TaskError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PADDING = -1
Tokens = NDArray[np.int32]


def open_tokenizer(folder: Path, max_length: int) -> Tokenizer:
    """Return the tokenizer of a backbone's folder, cutting at ``max_length`` tokens.

    Raises:
        TaskError: There is no tokenizer.json, or it cannot be read.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise TaskError(f"backbone {folder} has no tokenizer.json, which a text task needs")
    try:
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.enable_truncation(max_length)
    except Exception as error:  # the library raises no type of its own
        raise TaskError(f"cannot read {path}: {error}") from None
    tokenizer.no_padding()
    return tokenizer


def tokenise(
    batches: Iterable[Sequence[str]], count: int, tokenizer: Tokenizer, max_length: int
) -> tuple[Tokens, NDArray[np.int64]]:
    """Return the token ids of ``count`` texts and how many of each are no special tokens.

    Ids have shape (texts, ``max_length``), padded at the right with -1; special tokens are
    those of the tokenizer's own template.
    """
    ids_ET = np.full((count, max_length), PADDING, dtype=np.int32)
    words_E = np.zeros(count, dtype=np.int64)
    encodings = (coded for batch in batches for coded in tokenizer.encode_batch_fast(list(batch)))
    for row, coded in enumerate(encodings):
        ids = coded.ids
        ids_ET[row, : len(ids)] = ids
        words_E[row] = len(ids) - sum(coded.special_tokens_mask)
    return ids_ET, words_E


def check_fits(ids_ET: Tokens, config: dict[str, Any], where: str) -> None:
    """Raise TaskError if the backbone has no embedding for a token or a position."""
    positions = config.get("max_position_embeddings", config.get("n_positions"))
    if isinstance(positions, int) and ids_ET.shape[1] > positions:
        raise TaskError(
            f"{where}: preprocess.max_length {ids_ET.shape[1]} exceeds the backbone's "
            f"{positions} positions"
        )
    vocabulary = config.get("vocab_size")
    if isinstance(vocabulary, int) and ids_ET.size and ids_ET.max() >= vocabulary:
        raise TaskError(
            f"{where}: the tokenizer's id {ids_ET.max()} is outside the backbone's "
            f"{vocabulary} tokens"
        )
