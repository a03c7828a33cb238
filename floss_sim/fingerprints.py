"""SHA-256 fingerprints of settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def fingerprint(ingredients: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of a mapping as JSON with sorted keys."""
    text = json.dumps(ingredients, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
