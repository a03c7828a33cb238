"""Valid values of a document's keys in words, for messages that refuse a document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

_NOUNS = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}
_NOUNS |= {tuple: "a list", list: "a list"}
_BOUNDS = {"gt": "above", "ge": "from", "lt": "below", "le": "up to"}  # attributes of constraints
_LARGE = 1e12  # larger bounds keep numbers finite, and are left out


def valid_values(section: type[BaseModel], key: str) -> str:
    """Return the valid values of a section's key in words.

    They are the examples that the field states, or else its type and its bounds. A section states
    examples of values in place of its table in ``json_schema_extra``.

    Args:
        section: Class of the section.
        key: Name of one of its fields.
    """
    info = section.model_fields[key]
    if info.examples:
        return f"a value such as {' or '.join(_shown(info.examples))}"
    return " or ".join(dict.fromkeys(_words(info.annotation))) + _bounds(info)


def _words(annotation: Any) -> Iterator[str]:
    """Yield the nouns of a type: one for each member of a union."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _words(parts[0])
    elif origin in (Union, UnionType):
        for part in parts:
            yield from _words(part)
    elif origin is Literal:
        yield ", ".join(map(str, parts))
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        extra = annotation.model_config.get("json_schema_extra")
        yield from _shown(extra.get("examples", ()) if isinstance(extra, dict) else ())
        yield f"a table with keys of {', '.join(annotation.model_fields)}"
    elif annotation is not type(None):
        yield _NOUNS.get(origin or annotation, "a table")


def _shown(examples: Any) -> Iterable[str]:
    return [json.dumps(example, ensure_ascii=False) for example in examples]


def _bounds(info: FieldInfo) -> str:
    """Return the bounds of a number, such as `` above 0 up to 1``; empty without any."""
    limits = (
        (word, getattr(constraint, name, None))
        for name, word in _BOUNDS.items()
        for constraint in info.metadata
    )
    told = ((word, limit) for word, limit in limits if limit is not None and limit < _LARGE)
    return "".join(f" {word} {limit:.12g}" for word, limit in told)
