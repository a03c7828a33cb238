"""Damage to run folders: bits flipped, files exchanged, cut, emptied and deleted."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

KINDS = {
    "checkpoint": "checkpoint-*.safetensors",
    "run.json": "run.json",
    "manifest": "manifest.json",
    "rounds": "rounds-*.parquet",
    "transfers": "transfers-*.parquet",
    "models": "model-*.floss",
    "test.json": "test.json",
}
WAYS = ("another run's", "another round's", "truncated", "emptied", "deleted")


def flip_bit(path: Path, draw: random.Random) -> None:
    """Flip one bit of a file."""
    content = bytearray(path.read_bytes())
    at = draw.randrange(8 * len(content))
    content[at // 8] ^= 1 << at % 8
    path.write_bytes(content)


def damage(folder: Path, kind: str, way: str, other: Path, older: Path) -> bool:
    """Damage a folder's first file of a kind; return whether there was anything to do.

    Args:
        folder: Run folder.
        kind: A key of ``KINDS``.
        way: One of ``WAYS``.
        other: Folder of another run.
        older: The same folder, some rounds before.
    """
    path = min(folder.glob(KINDS[kind]))
    whole = path.read_bytes()
    if way in ("another run's", "another round's"):
        source = other if way == "another run's" else older
        found = [p.read_bytes() for p in sorted(source.glob(KINDS[kind]), reverse=True)]
        if way == "another round's":
            found = [p.read_bytes() for p in folder.glob(KINDS[kind]) if p != path] or found
        strange = [content for content in found if content != whole]
        if not strange:
            return False
        path.write_bytes(strange[0])
    elif way == "deleted":
        path.unlink()
    else:
        path.write_bytes(whole[: len(whole) // 2] if way == "truncated" else b"")
    return True


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files below a folder, without locks and the memory of checks."""
    return dict(_contents(folder))


def _contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            yield str(path), str(path.readlink()).encode()
        elif path.is_file() and path.name not in ("run.lock", "checked.jsonl"):
            yield str(path), path.read_bytes()
