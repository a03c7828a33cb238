"""Plain texts for a terminal: without control characters; warnings as one line."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# Control characters, line and paragraph separators, and signs that change the direction of a text.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def is_one_line(text: str) -> bool:
    """Return whether a text is one line without control characters."""
    return _CONTROL.search(text) is None


def one_line(text: str) -> str:
    """Return a text as one line, with a space for each control character."""
    return _CONTROL.sub(" ", text)


def printable(text: str) -> str:
    """Return a text with ``?`` for each control character; line ends and tabs stay."""
    return _CONTROL.sub(lambda found: found[0] if found[0] in "\n\t" else "?", text)


def warning_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """Return a warning as one line, without its place; arguments as ``warnings.formatwarning``."""
    return f"warning: {one_line(str(message))}\n"


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Show each warning of the block as one line on stderr."""
    before = warnings.formatwarning
    warnings.formatwarning = warning_line
    try:
        yield
    finally:
        warnings.formatwarning = before
