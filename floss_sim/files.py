"""Atomic replacement of text files."""

from __future__ import annotations

import os
from pathlib import Path

from floss_sim.errors import RecordError


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader sees either the old or the new content, never a mix.

    Raises:
        RecordError: The file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error.strerror}") from None
