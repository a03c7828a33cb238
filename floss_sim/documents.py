"""TOML documents, packaged or written by a user: finding, reading and validating them.

Tasks and network profiles are such documents. A document is frozen data without code. A key that
is missing, unknown or invalid raises an error of one line. :mod:`floss_sim.toml_json` states the
limits of a file's size and depth, and of its numbers and keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import ErrorDetails

from floss_sim.errors import ConfigError, UnitError
from floss_sim.plain_text import is_one_line
from floss_sim.toml_json import MAX_DEPTH, read_toml, shorten, shorten_line
from floss_sim.units import (
    parse_bytes,
    parse_duration,
    parse_energy,
    parse_operation_rate,
    parse_rate,
)
from floss_sim.valid_values import valid_values

PLAIN_NUMBERS = "plain_numbers"  # key of a validation context: quantities may have no unit


def quantity(parse: Callable[[object], float], unit: str) -> BeforeValidator:
    """Return a pydantic validator that parses a text with a unit.

    Args:
        parse: Function from the text to the number in the unit of the code.
        unit: That unit. Where the context has ``PLAIN_NUMBERS``, a number is in it.
    """

    def read(value: object, info: ValidationInfo) -> float:
        if type(value) in (int, float) and (info.context or {}).get(PLAIN_NUMBERS):
            value = f"{value!r} {unit}"
        try:
            return parse(value)
        except UnitError as error:
            raise ValueError(str(error)) from None

    return BeforeValidator(read)


def _one_line(text: str) -> str:
    if not is_one_line(text):
        raise ValueError(f"must be one line without control characters, not {shorten(text)}")
    return text


OneLine = Annotated[str, AfterValidator(_one_line)]
OneFullLine = Annotated[str, Field(min_length=1), AfterValidator(_one_line)]
Rate = Annotated[float, quantity(parse_rate, "bit/s"), Field(examples=["20 Mbit/s"])]
Duration = Annotated[float, quantity(parse_duration, "s"), Field(examples=["50 ms"])]
OperationRate = Annotated[
    float, quantity(parse_operation_rate, "FLOP/s"), Field(examples=["120 GFLOP/s"])
]
Energy = Annotated[float, quantity(parse_energy, "J"), Field(examples=["15 Wh"])]
ByteCount = Annotated[int, quantity(parse_bytes, "B"), Field(examples=["1 MB"])]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """Base class of a TOML table: frozen; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


_MAX_SHOWN = 200  # characters of a key in an error message
Document = TypeVar("Document", bound=Section)


def packaged_names(package: str) -> tuple[str, ...]:
    """Return the sorted names of a package's TOML files, without ``.toml``."""
    names = (entry.name for entry in resources.files(package).iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def find(name_or_path: str, package: str, what: str, error: type[ConfigError]) -> Path:
    """Return the path of a packaged document, or the given path if it ends in ``.toml``.

    Args:
        name_or_path: Name of a packaged document, or a path that ends in ``.toml``.
        package: Python package that holds the documents.
        what: Noun for the document in the error message, such as ``"task"``.
        error: Class of the error to raise.

    Raises:
        ConfigError: (of class ``error``) No packaged document has this name.
    """
    if name_or_path.endswith(".toml"):
        return Path(name_or_path)
    names = packaged_names(package)
    if name_or_path not in names:
        raise error(
            f"unknown {what} {name_or_path!r}; valid: {', '.join(names)}, "
            "or a path that ends in .toml"
        )
    return Path(str(resources.files(package))) / f"{name_or_path}.toml"


def read(
    path: Path,
    model: type[Document],
    error: type[ConfigError],
    changes: Mapping[str, Any] | None = None,
) -> Document:
    """Return the validated document of a TOML file.

    Args:
        path: The TOML file.
        model: Section class that defines the valid keys.
        error: Class of the error to raise.
        changes: Dotted keys to set before validation, such as ``{"partition.clients": 20}``.

    Raises:
        ConfigError: (of class ``error``) The file cannot be read, is not TOML, exceeds a limit of
            :mod:`floss_sim.toml_json`, or has a key that is missing, unknown or invalid.
    """
    content = read_toml(path, error)
    for key, value in (changes or {}).items():
        if key.count(".") >= MAX_DEPTH:
            raise error(f"key {shorten(key)} has more than {MAX_DEPTH} parts")
        _set(content, key, value)
    return validate(content, model, error, str(path), path.parent)


def _set(content: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key of a document; validation later rejects an invalid key or value."""
    section, _, rest = key.partition(".")
    if not rest:
        content[section] = value
        return
    if not isinstance(content.get(section), dict):
        content[section] = {}
    _set(content[section], rest, value)


def validate(
    content: Mapping[str, Any],
    model: type[Document],
    error: type[ConfigError],
    where: str,
    folder: Path = Path(),
    context: Mapping[str, Any] | None = None,
) -> Document:
    """Return the validated document of a mapping.

    Args:
        content: The parsed document.
        model: Section class that defines the valid keys.
        error: Class of the error to raise.
        where: Name of the document in the error message, such as its path.
        folder: Folder to which relative paths in the document refer.
        context: Further entries of the validation context.

    Raises:
        ConfigError: (of class ``error``) A key is missing, unknown or invalid; one line names it.
    """
    try:
        return model.model_validate(content, context={"folder": folder, **(context or {})})
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        key, message = _explain_problem(first, model)
        raise error(f"{where}: {key + ': ' if key else ''}{message}") from None
    except (RecursionError, OverflowError) as problem:  # values that no TOML or JSON file holds
        raise error(f"{where}: a value is too deep or too large: {problem}") from None


def _explain_problem(problem: ErrorDetails, model: type[Section]) -> tuple[str, str]:
    """Return the dotted key of a validation error, and a message of one line."""
    kind, given, details = problem["type"], problem["input"], problem.get("ctx", {})
    key, sections = _locate(model, problem["loc"])
    if kind == "extra_forbidden":
        _, holders = _locate(model, problem["loc"][:-1])
        return key, f"unknown key; valid: {_keys(holders)}"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        tag = details["discriminator"].strip("'")
        tags = ", ".join(value for section in sections for value in _literals(section, tag))
        said = f"{shorten(details['tag'])} is unknown" if "tag" in details else "missing"
        return f"{key}.{tag}", f"{said}; valid: {tags}"
    if sections and kind == "tuple_type":
        return key, f"Input should be a list of tables ([[{key}]])"
    if sections and kind in ("model_type", "model_attributes_type"):
        return key, f"Input should be a table with keys of {_keys(sections)}, not {shorten(given)}"
    if kind == "missing":
        return key, f"missing; valid: {_valid_at(model, problem['loc'])}"
    message = shorten_line(problem["msg"].removeprefix("Value error, "))  # may repeat a value
    if kind == "value_error":
        return key, message
    return key, f"{message}, not {shorten(given)}"


def _valid_at(model: type[Section], location: Sequence[str | int]) -> str:
    """Return the valid values of a missing key in words."""
    _, holders = _locate(model, location[:-1])
    name = str(location[-1])
    return " or ".join(valid_values(one, name) for one in holders if name in one.model_fields)


def _keys(sections: Sequence[type[Section]]) -> str:
    return ", ".join(dict.fromkeys(name for one in sections for name in one.model_fields))


def _locate(model: type[Section], location: Sequence[str | int]) -> tuple[str, list[type[Section]]]:
    """Return the dotted key of an error's location, and the section classes valid there.

    In a tagged union of sections pydantic adds the tag's value to the location. The value is left
    out of the dotted key.
    """
    key, sections = [], [model]
    for part in location:
        chosen = [s for s in sections if any(part in _literals(s, f) for f in s.model_fields)]
        fields = [s.model_fields[part] for s in sections if part in s.model_fields]
        if chosen and not fields:
            sections = chosen
            continue
        key.append(part if isinstance(part, str) and part.isprintable() else shorten(part))
        if isinstance(part, str):
            sections = [s for field in fields for s in _sections(field.annotation)]
    dotted = ".".join(key)
    return dotted if len(dotted) <= _MAX_SHOWN else f"{dotted[:_MAX_SHOWN]}...", sections


def _literals(section: type[Section], field: str) -> tuple[Any, ...]:
    """Return the string values that a Literal field accepts; empty for any other field."""
    found = section.model_fields.get(field)
    return tuple(v for v in get_args(found.annotation) if isinstance(v, str)) if found else ()


def _sections(annotation: Any) -> Iterator[type[Section]]:
    """Yield the section classes in a type annotation."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for part in get_args(annotation):
        yield from _sections(part)
