"""Token ids of texts, from the tokenizer in the backbone's folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import TaskError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PADDING = -1


def open_tokenizer(folder: Path, max_length: int) -> Tokenizer:
    """Return the tokenizer of a backbone's folder; it cuts texts at ``max_length`` tokens.

    Raises:
        TaskError: The folder has no tokenizer.json, or the file cannot be read.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise TaskError(f"backbone {folder} has no tokenizer.json, which a text task needs")
    try:
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.enable_truncation(max_length)
    except Exception as error:  # the library raises plain Exception
        raise TaskError(f"cannot read {path}: {error}") from None
    tokenizer.no_padding()
    return tokenizer


@dataclass(frozen=True, eq=False)
class TokenisedTexts:
    """E tokenised texts of at most T tokens.

    Attributes:
        ids: Token ids (E, T), padded at the right with -1 to the longest text; special tokens are
            added by the tokenizer's own template.
        words: Number of tokens of each text (E,), special tokens not counted.
        cut: Whether each text (E,) was longer than the tokenizer's limit.
    """

    ids: NDArray[np.int32]
    words: NDArray[np.int64]
    cut: NDArray[np.bool_]


def tokenise(batches: Iterable[Sequence[str]], tokenizer: Tokenizer) -> TokenisedTexts:
    """Return the token ids of all texts, in the order of the batches."""
    ids, words, cut = [], [], []
    for batch in batches:
        for coded in tokenizer.encode_batch_fast(list(batch)):
            ids.append(np.array(coded.ids, dtype=np.int32))
            words.append(len(coded.ids) - sum(coded.special_tokens_mask))
            cut.append(bool(coded.overflowing))
    ids_ET = np.full((len(ids), max(map(len, ids), default=0)), PADDING, dtype=np.int32)
    for row, tokens in enumerate(ids):
        ids_ET[row, : len(tokens)] = tokens
    return TokenisedTexts(ids_ET, np.array(words, dtype=np.int64), np.array(cut, dtype=bool))


def check_vocabulary(ids_ET: NDArray[np.int32], config: dict[str, Any], where: str) -> None:
    """Raise TaskError if a token id is outside the backbone's vocabulary."""
    vocabulary = config.get("vocab_size")
    if isinstance(vocabulary, int) and ids_ET.size and ids_ET.max() >= vocabulary:
        raise TaskError(
            f"{where}: the tokenizer's id {ids_ET.max()} is outside the backbone's "
            f"{vocabulary} tokens"
        )
