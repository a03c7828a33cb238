"""Sealed JSON files: JSON objects that end with the SHA-256 of their own canonical content.

The canonical content is the object without the key ``sha256``, with sorted keys and no blanks. A
sealed file is accepted only if its text is exactly the text that :func:`write_sealed` writes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from floss_sim.errors import RecordError
from floss_sim.files import leaves_folder, write_atomically
from floss_sim.fingerprints import fingerprint

_SEAL = "sha256"
_LARGEST_BYTES = 1 << 28  # bytes; larger files are not read


def sealed_text(content: Mapping[str, Any]) -> str:
    """Return an object as the text of a sealed file."""
    return json.dumps({**content, _SEAL: fingerprint(content)}, indent=1) + "\n"


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object atomically, with its seal.

    Raises:
        RecordError: The file cannot be written.
    """
    write_atomically(path, sealed_text(content))


def read_sealed(path: Path, remedy: str) -> tuple[dict[str, Any], bool]:
    """Return the object of a file without its seal, and whether the file has a seal.

    Args:
        path: File of an object, sealed or (by an earlier version) not sealed.
        remedy: Advice at the end of an error message, such as ``remove the run folder``.

    Raises:
        RecordError: The file cannot be read, is a link to a file outside its folder, is no JSON
            object, or does not match its seal.
    """
    try:
        if leaves_folder(path):
            raise RecordError(f"{path} links to a file outside the folder; {remedy}")
        if path.stat().st_size > _LARGEST_BYTES:
            raise RecordError(f"{path} is damaged (too large); {remedy}")
        text = path.read_bytes().decode()
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise RecordError(f"{path} is damaged (not JSON); {remedy}") from None
    except (OSError, RuntimeError) as error:
        said = getattr(error, "strerror", None) or "a link to itself"
        raise RecordError(f"cannot read {path}: {said}; {remedy}") from None
    if not isinstance(content, dict):
        raise RecordError(f"{path} is damaged (not a JSON object); {remedy}")
    if _SEAL not in content:
        return content, False
    bare = {key: value for key, value in content.items() if key != _SEAL}
    if sealed_text(bare) != text:
        raise RecordError(f"{path} is damaged (its SHA-256 differs); {remedy}")
    return bare, True
