"""TOML and JSON texts, parsed within stated limits of size, depth, numbers, keys and texts.

=================================  ==============================================================
limit                              value
=================================  ==============================================================
length of a TOML file              2 MiB (the packaged profiles and tasks hold 1 kB each)
length of a JSON file              8 MiB (``plan.json`` of the default search holds 0.1 MB)
depth of tables and lists          32
length of a number                 300 characters; integers fit into 64 bits
length of a key                    1,000 characters, or 16 dotted parts
keys                               none is there twice in a table or object
texts and keys                     no NUL character and no half of a surrogate pair
=================================  ==============================================================

What goes beyond a limit is refused before a parser spends time or memory on it, or before a value
reaches code that does not expect it.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from floss_sim.errors import ConfigError

MAX_TOML_BYTES = 2 << 20
MAX_JSON_BYTES = 8 << 20
MAX_DEPTH = 32
MAX_NUMBER = 300  # characters
MAX_KEY = 1000  # characters
MAX_KEY_PARTS = 16  # parts of a dotted key
_MAX_INTEGER = 2**63  # integers of both formats fit into 64 bits with a sign

_LONG_NUMBER = re.compile(rf"(?<![0-9_])[0-9][0-9_]{{{MAX_NUMBER}}}")
_PART = r"""(?:(?<![\w-])[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+"""
_LONG_KEY = re.compile(rf"(?:{_PART}\.[ \t]*+){{{MAX_KEY_PARTS}}}")
_JSON_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_UNPRINTABLE = re.compile("[\0\ud800-\udfff]")


def read_toml(path: Path, error: type[ConfigError]) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises:
        ConfigError: (of class ``error``) The file cannot be read, is not TOML, or exceeds a limit
            of this module.
    """
    return parse_toml(_decode(_read(path, MAX_TOML_BYTES, error), path, "TOML", error), path, error)


def read_json(path: Path, error: type[ConfigError]) -> Any:
    """Return the content of a JSON file.

    Raises:
        ConfigError: (of class ``error``) The file cannot be read, is not JSON, or exceeds a limit
            of this module.
    """
    blob = _read(path, MAX_JSON_BYTES, error)
    text = _decode(blob, path, "JSON", error)
    problem = _json_problem(blob)
    if problem:
        raise error(f"{path} {problem}")
    try:
        content = json.loads(
            text, parse_constant=_refuse_constant, object_pairs_hook=_refuse_repetition
        )
    except (ValueError, RecursionError) as mistake:
        raise error(f"{path} is not JSON: {_one_line(mistake)}") from None
    return _checked(content, path, error)


def parse_toml(text: str, where: Path | str, error: type[ConfigError]) -> dict[str, Any]:
    """Return the content of a TOML text.

    Args:
        text: The text.
        where: Name of the text in the error message.
        error: Class of the error to raise.

    Raises:
        ConfigError: (of class ``error``) The text is not TOML, or exceeds a limit of this module.
    """
    if _LONG_NUMBER.search(text):
        raise error(f"{where} holds a number of more than {MAX_NUMBER} characters")
    if _LONG_KEY.search(text):
        raise error(f"{where} holds a dotted key of more than {MAX_KEY_PARTS} parts")
    try:
        content = tomllib.loads(text)
    except RecursionError:
        raise error(f"{where} is not TOML: more than {MAX_DEPTH} tables and lists nest") from None
    except ValueError as mistake:
        raise error(f"{where} is not TOML: {_one_line(mistake)}") from None
    checked: dict[str, Any] = _checked(content, where, error)
    return checked


def shorten(value: object, most: int = 80) -> str:
    """Return the repr of a value, cut to ``most`` characters."""
    try:
        said = repr(value)
    except (ValueError, RecursionError):  # integers of more than 4,300 digits have no repr
        said = f"a {type(value).__name__}"
    return said if len(said) <= most else f"{said[: most - 3]}..."


def shorten_line(text: str, most: int = 400) -> str:
    """Return a text of at most about ``most`` characters: its start and its end."""
    half = most // 2
    return text if len(text) <= most else f"{text[:half]} ... {text[-half:]}"


def _read(path: Path, most: int, error: type[ConfigError]) -> bytes:
    try:
        with path.open("rb") as file:
            blob = file.read(most + 1)
    except OSError as problem:
        raise error(f"cannot read {path}: {problem.strerror}") from None
    except ValueError as problem:  # a NUL character in the path
        raise error(f"cannot read {str(path)!r}: {problem}") from None
    if len(blob) > most:
        raise error(f"{path} is longer than {most >> 20} MiB, the limit of such files")
    return blob


def _decode(blob: bytes, path: Path, form: str, error: type[ConfigError]) -> str:
    try:
        return blob.decode("utf-8")
    except UnicodeDecodeError as problem:
        raise error(
            f"{path} is not {form}: byte {problem.start} is not UTF-8 ({problem.reason})"
        ) from None


def _json_problem(blob: bytes) -> str:
    """Return the limit that a JSON text exceeds outside of its texts; empty if none."""
    bare = _JSON_STRING.sub(b"", blob)
    symbols = np.frombuffer(bare, dtype=np.uint8)
    opening = (symbols == ord("[")) | (symbols == ord("{"))
    closing = (symbols == ord("]")) | (symbols == ord("}"))
    steps = opening.astype(np.int8) - closing.astype(np.int8)
    if steps.size and np.cumsum(steps, dtype=np.int32).max() > MAX_DEPTH:
        return f"is not JSON as read here: more than {MAX_DEPTH} objects and lists nest"
    if _LONG_NUMBER.search(bare.decode("latin-1")):
        return f"holds a number of more than {MAX_NUMBER} characters"
    return ""


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _refuse_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of pairs; raise ValueError if a key is there twice."""
    content = dict(pairs)
    if len(content) < len(pairs):
        ((key, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {shorten(key)} is there twice")
    return content


def _checked(content: Any, where: Path | str, error: type[ConfigError]) -> Any:
    """Return a parsed content.

    Raises:
        ConfigError: (of class ``error``) A value exceeds a limit.
    """
    pending = [(content, 0)]
    while pending:
        value, depth = pending.pop()
        problem = _problem(value, depth)
        if problem:
            raise error(f"{where} {problem}")
        if isinstance(value, dict):
            pending += [(inner, depth + 1) for pair in value.items() for inner in pair]
            if any(len(key) > MAX_KEY for key in value):
                raise error(f"{where} holds a key of more than {MAX_KEY} characters")
        elif isinstance(value, list):
            pending += [(inner, depth + 1) for inner in value]
    return content


def _problem(value: Any, depth: int) -> str:
    """Return the limit that one value exceeds; empty if none."""
    if isinstance(value, dict | list):
        return f"nests more than {MAX_DEPTH} tables and lists" if depth > MAX_DEPTH else ""
    if isinstance(value, str):
        found = _UNPRINTABLE.search(value)
        return f"holds the character {found[0]!r}, which no text may hold" if found else ""
    if isinstance(value, int) and not -_MAX_INTEGER <= value < _MAX_INTEGER:
        return "holds an integer of more than 64 bits"
    return ""


def _one_line(mistake: BaseException) -> str:
    """Return an error's message in one line without unprintable characters, 200 at most."""
    said = " ".join(str(mistake).split()) or type(mistake).__name__
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in said)
    return shown if len(shown) <= 200 else f"{shown[:197]}..."
