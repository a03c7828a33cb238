"""Folders that tests read: this repository's, and real data beside it where there are any."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
EXPERIMENTS = REPOSITORY / "experiments"
SHARED = REPOSITORY.parent / "shared" / "data"
