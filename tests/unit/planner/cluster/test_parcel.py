"""Parcels come back as they were packed, and damaged or strange ones are one clear error."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.cluster import worker_files
from planner.cluster.parcel import ParcelError, pack_parcel, unpack_parcel
from planner.cluster.versions import versions
from planner.cluster.worker import answer

NAMES = ("run0.rounds", "run12.model000010", "data", "backbone.model-00001-of-00002.safetensors")
HEAD = {"kind": "train", "numbers": [1, 2.5, None], "text": "\u00e9"}
PARCEL = pack_parcel(HEAD, {name: bytes(range(200)) * 3 for name in NAMES})


@given(st.dictionaries(st.sampled_from(NAMES), st.binary(max_size=2000)), st.text(max_size=20))
def test_a_parcel_comes_back_as_it_was_packed(blobs: dict[str, bytes], text: str):
    assert unpack_parcel(pack_parcel({"text": text}, blobs)) == ({"text": text}, blobs)


@given(st.integers(0, len(PARCEL) - 1))
def test_a_parcel_that_is_cut_off_is_refused(length: int):
    with pytest.raises(ParcelError):
        unpack_parcel(PARCEL[:length])


@given(st.integers(0, len(PARCEL) - 1), st.integers(1, 255))
def test_a_parcel_with_a_changed_byte_is_refused(place: int, change: int):
    damaged = bytearray(PARCEL)
    damaged[place] ^= change
    with pytest.raises(ParcelError):
        unpack_parcel(bytes(damaged))


@pytest.mark.parametrize(
    "name",
    ["../data", "/etc/passwd", "backbone.../config.json", "backbone.x.py", "run.json", "host.jsonl",
     "run0.rounds/../x", "backbone..safetensors", "data\n", "run9999.rounds", "backbone.a/b.json",
     ""],
)  # fmt: skip
def test_a_name_that_no_parcel_has_is_refused_at_both_ends(name: str):
    with pytest.raises(ParcelError):
        pack_parcel({}, {name: b"x"})
    with pytest.raises(ParcelError):
        unpack_parcel(index_of([{"name": name, "packed_bytes": 0, "sum": sum_of(b"")}]))


@pytest.mark.parametrize("head", [b'{"a": NaN}', b'{"a": -Infinity}', b'{"a": 1, "a": 2}'])
def test_a_head_that_is_no_strict_json_is_refused(head: bytes):
    with pytest.raises(ParcelError, match="no JSON object"):
        unpack_parcel(with_index(b'{"head": ' + head + b', "blobs": []}'))
    with pytest.raises(ParcelError, match="not finite"):
        pack_parcel({"a": float("nan")})


def test_a_blob_that_would_fill_the_memory_is_refused():
    bomb = {"name": "data", "packed_bytes": 3, "sum": {"bytes": 1 << 50, "sha256": "0" * 64}}
    with pytest.raises(ParcelError, match="cannot be unpacked"):
        unpack_parcel(index_of([bomb], b"abc"))


def test_a_worker_answers_a_bad_parcel_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "worker"
    monkeypatch.setenv(worker_files.FOLDER, str(folder))
    strange = {"kind": "check", "device": "cpu", "versions": {**versions(), "\x1b[31m": "1"}}
    for bad in (
        None,
        3,
        pack_parcel(strange),
        b"",
        b"no parcel",
        PARCEL[:-1],
        pack_parcel({"kind": "shell"}),
        PARCEL,
    ):
        head, blobs = unpack_parcel(answer(bad))
        assert head["status"] == "failed"
        assert head["reason"]
        assert head["reason"].isprintable()
        assert not blobs
    assert not folder.exists()


def sum_of(content: bytes) -> dict[str, object]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def index_of(blobs: list[dict], rest: bytes = b"") -> bytes:
    """Return a parcel with a list of blobs of one's own, whose own sum is right."""
    return with_index(json.dumps({"head": {}, "blobs": blobs}).encode(), rest)


def with_index(text: bytes, rest: bytes = b"") -> bytes:
    start = PARCEL[: PARCEL.index(b"\n") + 1]
    return start + len(text).to_bytes(8, "big") + hashlib.sha256(text).digest() + text + rest
