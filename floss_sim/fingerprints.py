"""SHA-256 fingerprints of plain settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def fingerprint(ingredients: Mapping[str, Any]) -> str:
    """Return the SHA-256 in hex of a JSON-able mapping, whatever its key order."""
    text = json.dumps(ingredients, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
