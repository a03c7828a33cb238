"""Regular expressions over module paths, matched in bounded time.

Syntax and meaning are those of Python's ``re``, which PEFT uses. The ``regex`` package does the
matching, because it can stop: the time of some expressions grows exponentially with the length of
a path.
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Iterable

from floss_sim.errors import LayoutError

_MOST_S = 2.0  # time in which an expression is matched against all paths of a model
_MOST_CHARACTERS = 1000
_FUZZY = re.compile(r"(?<!\\)\{(?!\d*,?\d*\})")  # braces that only ``regex`` reads as an operator


def check_pattern(pattern: str) -> None:
    """Check that a text is a regular expression, also as part of :func:`end_pattern`.

    Raises:
        LayoutError: It is none, is ambiguous, or is longer than 1000 characters.
    """
    if len(pattern) > _MOST_CHARACTERS:
        raise LayoutError(
            f"an expression of {len(pattern)} characters; valid: at most {_MOST_CHARACTERS}"
        )
    if _FUZZY.search(pattern):
        raise LayoutError(f"{pattern!r}: braces in an expression are repetitions such as {{2,3}}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # "possible nested set"
            re.compile(pattern)
            re.compile(end_pattern(pattern))
    except (re.error, RecursionError, OverflowError, Warning) as error:
        raise LayoutError(f"{pattern!r} is not a regular expression: {error}") from None


def end_pattern(pattern: str) -> str:
    """Return the expression for a path, or the last parts of one, that PEFT's patterns stand for.

    PEFT matches the keys of ``rank_pattern`` and ``alpha_pattern`` this way
    (``peft.utils.other.get_pattern_key``).
    """
    return rf"(.*\.)?({pattern})"


def matching_paths(pattern: str, paths: Iterable[str]) -> list[str]:
    """Return the paths that an expression matches as a whole.

    Raises:
        LayoutError: Matching takes more than two seconds.
    """
    import regex

    until_s = time.monotonic() + _MOST_S
    try:
        expression = regex.compile(pattern)
        return [
            path
            for path in paths
            if expression.fullmatch(path, timeout=max(1e-3, until_s - time.monotonic()))
        ]
    except TimeoutError:
        raise LayoutError(
            f"expression {pattern!r} takes more than {_MOST_S:g} s to match the model's modules; "
            "give one without repetitions inside repetitions"
        ) from None
    except regex.error as error:
        raise LayoutError(f"{pattern!r} is not a regular expression: {error}") from None
