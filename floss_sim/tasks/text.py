"""Token ids of texts, from the tokenizer in the backbone's folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import TaskError
from floss_sim.families import ModelInputs
from floss_sim.json_object import read_json_object

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PADDING = -1
TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
_SIDES = ("left", "right")
_SAMPLES = ["", "a", "one two " * 8]  # a tokenizer whose parts contradict each other fails on them


def open_tokenizer(folder: Path, max_length: int) -> Tokenizer:
    """Return the tokenizer of a backbone's folder; it cuts texts at ``max_length`` tokens.

    Texts are cut on the side that the folder states, see :class:`TokenizerUse`.

    Raises:
        TaskError: The folder has no tokenizer.json, or a file of the tokenizer cannot be read.
    """
    tokenizer = _read_tokenizer(folder)
    side = _sides(folder, tokenizer)[0]
    with _tokenizer_errors(f"cannot read {folder / TOKENIZER}"):
        tokenizer.enable_truncation(max_length, direction=side)
    tokenizer.no_padding()
    with _tokenizer_errors(f"cannot read {folder / TOKENIZER}"), _no_error_output():
        tokenizer.encode_batch_fast(_SAMPLES)
    return tokenizer


def _read_tokenizer(folder: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    path = folder / TOKENIZER
    if not path.is_file():
        raise TaskError(f"backbone {folder} has no tokenizer.json, which a text task needs")
    with _tokenizer_errors(f"cannot read {folder / TOKENIZER}"):
        return Tokenizer.from_file(str(path))


@contextmanager
def _tokenizer_errors(what: str) -> Iterator[None]:
    """Turn every error of the tokenizer library into a TaskError of one line.

    Raises:
        TaskError: The library raised an error, or its Rust code panicked.
    """
    try:
        yield
    except TaskError:
        raise
    except BaseException as error:  # a panic of Rust code is not an Exception
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise TaskError(f"{what}: {said}") from None


@contextmanager
def _no_error_output() -> Iterator[None]:
    """Discard what is written to the process' standard error: a panic of Rust code reports there.

    Without a standard error nothing is discarded.
    """
    try:
        kept = os.dup(2)
    except OSError:
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _sides(folder: Path, tokenizer: Tokenizer) -> tuple[str, str]:
    """Return the sides on which texts are cut and padded: the folder's own, else the right."""
    stated = _tokenizer_config(folder)
    found = []
    for key, inner in (
        ("truncation_side", tokenizer.truncation),
        ("padding_side", tokenizer.padding),
    ):
        side = stated.get(key) or (inner or {}).get("direction", "right")
        if side not in _SIDES:
            raise TaskError(
                f"{folder / TOKENIZER_CONFIG}: {key} is {str(side)[:60]!r}; valid: left, right"
            )
        found.append(side)
    return found[0], found[1]


def _tokenizer_config(folder: Path) -> dict[str, Any]:
    path = folder / TOKENIZER_CONFIG
    return read_json_object(path, "cannot read") if path.is_file() else {}


@dataclass(frozen=True)
class TokenizerUse:
    """Use of a backbone's tokenizer: what is followed, and what it states besides.

    Args:
        truncation_side: The side on which texts are cut, as the tokenizer states it.
        pad_id: Id of the token that fills batches; always on the right, and masked.
        pad_token: Its text; None if the tokenizer has no such id.
        pad_key: Key of config.json that names it; empty: no key does.
        own_side: The side on which the tokenizer itself pads.
        own_token: The tokenizer's own padding token; None if it states none.
    """

    truncation_side: str
    pad_id: int
    pad_token: str | None
    pad_key: str
    own_side: str
    own_token: str | None

    def describe(self) -> str:
        """Return the use in words, for ``task check``."""
        key = f"{self.pad_key} of config.json" if self.pad_key else "config.json names none"
        named = "" if self.pad_token is None else f" {self.pad_token!r}"
        parts = [
            f"cuts on the {self.truncation_side}",
            f"padding on the right with token {self.pad_id}{named} ({key}), masked",
        ]
        if self.own_side != "right":
            parts.append(f"the tokenizer's own padding side, {self.own_side}, is not used")
        if self.own_token not in (None, self.pad_token):
            parts.append(f"the tokenizer's own padding token, {self.own_token!r}, is not used")
        return "; ".join(parts)


def tokenizer_use(folder: Path, inputs: ModelInputs) -> TokenizerUse:
    """Return how texts are cut and padded for a backbone.

    Args:
        folder: The backbone's folder.
        inputs: What the backbone reads.

    Raises:
        TaskError: A file of the tokenizer is missing or damaged.
    """
    tokenizer = _read_tokenizer(folder)
    truncation_side, own_side = _sides(folder, tokenizer)
    own = _tokenizer_config(folder).get("pad_token") or (tokenizer.padding or {}).get("pad_token")
    own = own.get("content") if isinstance(own, dict) else own
    return TokenizerUse(
        truncation_side,
        inputs.pad,
        tokenizer.id_to_token(inputs.pad),
        inputs.pad_key,
        own_side,
        own if isinstance(own, str) else None,
    )


def export_tokenizer_config(folder: Path, use: TokenizerUse, max_length: int) -> dict[str, Any]:
    """Return a ``tokenizer_config.json`` with which transformers makes the same tokens.

    The folder's own entries stay, except those that name code or another class: the class of the
    library that reads ``tokenizer.json`` as it is takes their place.
    """
    stated = {k: v for k, v in _tokenizer_config(folder).items() if k != "auto_map"}
    own = {} if use.pad_token is None else {"pad_token": use.pad_token}
    return stated | own | {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": max_length,
        "padding_side": "right",
        "truncation_side": use.truncation_side,
    }  # fmt: skip


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
    """Return the token ids of all texts, in the order of the batches.

    Raises:
        TaskError: The tokenizer fails on a text.
    """
    ids, words, cut = [], [], []
    for batch in batches:
        texts = list(batch)
        with _tokenizer_errors("the backbone's tokenizer fails on a text"):
            encoded = tokenizer.encode_batch_fast(texts)
        for coded in encoded:
            ids.append(np.array(coded.ids, dtype=np.int32))
            words.append(len(coded.ids) - sum(coded.special_tokens_mask))
            cut.append(bool(coded.overflowing))
    ids_ET = np.full((len(ids), max(map(len, ids), default=0)), PADDING, dtype=np.int32)
    for row, tokens in enumerate(ids):
        ids_ET[row, : len(tokens)] = tokens
    return TokenisedTexts(ids_ET, np.array(words, dtype=np.int64), np.array(cut, dtype=bool))


def check_vocabulary(ids_ET: NDArray[np.int32], config: dict[str, Any], where: str) -> None:
    """Raise TaskError if a token id is outside the backbone's vocabulary."""
    vocabulary = config.get("vocab_size", (config.get("text_config") or {}).get("vocab_size"))
    if isinstance(vocabulary, int) and ids_ET.size and ids_ET.max() >= vocabulary:
        raise TaskError(
            f"{where}: the tokenizer's id {ids_ET.max()} is outside the backbone's "
            f"{vocabulary} tokens"
        )
