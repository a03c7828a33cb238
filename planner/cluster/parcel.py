"""Parcel: a JSON head and named blobs in one string of bytes, as jobs and their answers travel.

::

    magic | length of the index, 8 bytes | SHA-256 of the index, 32 bytes | index | blobs

The index is a JSON object: the ``head``, and of each blob its name, its length, its SHA-256 and its
packed length. Blobs are packed by zstd. A name is one of a closed set, and never a path. A parcel
holds values alone: nothing in it is run.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import pyarrow as pa
from pydantic import Field, StrictInt

from floss_sim import documents
from floss_sim.documents import Section
from floss_sim.errors import ConfigError
from floss_sim.records.file_checks import FileSum

_MAGIC = b"floss-parcel 1\n"
_COUNT_BYTES, _SUM_BYTES = 8, 32
_START = len(_MAGIC) + _COUNT_BYTES + _SUM_BYTES
_MOST_INDEX_BYTES = 1 << 26
_MOST_RATIO = 1 << 15  # of unpacked to packed bytes; zstd's own limit is about as high
_CODEC = "zstd"
_LEVEL = 1
_BACKBONE_FILE = (
    r"config\.json|[A-Za-z0-9_-][A-Za-z0-9._-]{0,120}\.safetensors(\.index\.json)?"
    r"|tokenizer\.json|tokenizer_config\.json|preprocessor_config\.json|processor_config\.json"
)
_NAME = re.compile(
    r"run[0-9]{1,3}\.(rounds|transfers|checkpoint|model[0-9]{1,9})|data|"
    rf"backbone\.({_BACKBONE_FILE})"
)


class ParcelError(ConfigError):
    """Bytes are no parcel, or a parcel is damaged."""


class _Blob(Section):
    """A blob as the index names it."""

    name: Annotated[str, Field(max_length=200)]
    packed_bytes: Annotated[StrictInt, Field(ge=0)]
    sum: FileSum


class _Index(Section):
    """The index of a parcel."""

    head: dict[str, Any]
    blobs: tuple[_Blob, ...]


def pack_parcel(head: Mapping[str, Any], blobs: Mapping[str, bytes] | None = None) -> bytes:
    """Return a parcel.

    Args:
        head: Plain values.
        blobs: Content of each blob, by name.

    Raises:
        ParcelError: A name is none of a parcel's, or a number is not finite.
    """
    contents = dict(blobs or {})
    for name in contents:
        _check_name(name)
    packed = {name: _packed(content) for name, content in contents.items()}
    listed = [
        {"name": name, "packed_bytes": len(packed[name]), "sum": _sum(content).model_dump()}
        for name, content in contents.items()
    ]
    try:
        index = json.dumps({"head": dict(head), "blobs": listed}, allow_nan=False).encode()
    except ValueError:
        raise ParcelError("a number of a parcel is not finite") from None
    count = len(index).to_bytes(_COUNT_BYTES, "big")
    return b"".join([_MAGIC, count, hashlib.sha256(index).digest(), index, *packed.values()])


def unpack_parcel(data: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return head and blobs of a parcel, all of whose lengths, sums and names are right.

    Raises:
        ParcelError: The bytes are no parcel, or are damaged; the message says where.
    """
    if not isinstance(data, bytes | bytearray | memoryview) or bytes(data[: len(_MAGIC)]) != _MAGIC:
        raise ParcelError("no parcel of this version of floss-sim")
    data = bytes(data)
    end = _START + int.from_bytes(data[len(_MAGIC) : len(_MAGIC) + _COUNT_BYTES], "big")
    if end - _START > _MOST_INDEX_BYTES or len(data) < end:
        raise ParcelError("the parcel is cut off in its index")
    text = data[_START:end]
    if hashlib.sha256(text).digest() != data[_START - _SUM_BYTES : _START]:
        raise ParcelError("the index of the parcel is damaged (its SHA-256 differs)")
    index = documents.validate(_parsed(text), _Index, ParcelError, "parcel")
    if len(data) != end + sum(blob.packed_bytes for blob in index.blobs):
        raise ParcelError("the parcel is cut off, or longer than its index says")
    return index.head, dict(_blobs(data, end, index.blobs))


def _blobs(data: bytes, start: int, listed: tuple[_Blob, ...]) -> Iterator[tuple[str, bytes]]:
    seen = set[str]()
    for blob in listed:
        _check_name(blob.name)
        if blob.name in seen:
            raise ParcelError(f"the parcel has two blobs {blob.name!r}")
        seen.add(blob.name)
        yield blob.name, _unpacked(data[start : start + blob.packed_bytes], blob)
        start += blob.packed_bytes


def _unpacked(packed: bytes, blob: _Blob) -> bytes:
    try:
        if blob.sum.bytes > _MOST_RATIO * (len(packed) + 1):
            raise ValueError
        content: bytes = pa.decompress(packed, blob.sum.bytes, codec=_CODEC, asbytes=True)
    except (ValueError, OSError, pa.ArrowException, MemoryError, OverflowError):
        raise ParcelError(f"blob {blob.name} of the parcel cannot be unpacked") from None
    if _sum(content) != blob.sum:
        raise ParcelError(f"blob {blob.name} of the parcel is damaged (its SHA-256 differs)")
    return content


def _packed(content: bytes) -> bytes:
    packed: bytes = pa.Codec(_CODEC, _LEVEL).compress(content, asbytes=True)
    return packed


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        content = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ParcelError("the index of the parcel is no JSON object")
    return content


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("an object has a key twice")
    return made


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ParcelError(f"a parcel has no blob {name[:80]!r}")


def _sum(content: bytes) -> FileSum:
    return FileSum(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
