"""Lines of a model card that load the model."""

from __future__ import annotations

import re
from pathlib import Path


def card_lines(folder: Path) -> list[str]:
    """Return the lines of the first block of Python in the ``README.md`` of a folder."""
    card = (folder / "README.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)\n```", card, re.DOTALL)
    assert found, card
    return found[1].splitlines()
