"""TOML documents that ship with a package or that a user writes: found, read, validated.

Tasks and network profiles are such documents: inert, frozen, refused in one line when a key is
missing, unknown or invalid.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from floss_sim.errors import ConfigError, UnitError
from floss_sim.units import parse_bytes, parse_duration, parse_rate


def quantity(parse: Callable[[object], float]) -> BeforeValidator:
    """Return a validator that reads a text with a unit."""

    def read(value: object) -> float:
        try:
            return parse(value)
        except UnitError as error:
            raise ValueError(str(error)) from None

    return BeforeValidator(read)


Rate = Annotated[float, quantity(parse_rate)]
Duration = Annotated[float, quantity(parse_duration)]
Size = Annotated[int, quantity(parse_bytes)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """A frozen table of a document; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Document = TypeVar("Document", bound=Section)


def packaged(package: str) -> tuple[str, ...]:
    """Return the names of the documents that ship in a package."""
    names = (entry.name for entry in resources.files(package).iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def find(name_or_path: str, package: str, what: str, error: type[ConfigError]) -> Path:
    """Return the path of a packaged document, or the path given if it ends in ``.toml``.

    Raises:
        ConfigError: (of the given type) No packaged document has this name.
    """
    if name_or_path.endswith(".toml"):
        return Path(name_or_path)
    names = packaged(package)
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
        path: The file.
        model: What it must hold.
        error: The error to raise.
        changes: Keys to set before validation, such as ``{"partition.clients": 20}``.

    Raises:
        ConfigError: (of the given type) The file cannot be read, is not TOML, or has a key that is
            missing, unknown or invalid.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise error(f"cannot read {path}: {problem.strerror}") from None
    except ValueError as problem:
        raise error(f"{path} is not TOML: {problem}") from None
    for key, value in (changes or {}).items():
        _set(content, key, value)
    return validate(content, model, error, str(path), path.parent)


def _set(content: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key of a document; what does not fit there is left to validation."""
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
) -> Document:
    """Return the validated document of a mapping.

    Args:
        content: The mapping.
        model: What it must hold.
        error: The error to raise.
        where: What the error calls it.
        folder: What the paths in it are relative to.

    Raises:
        ConfigError: (of the given type) A key is missing, unknown or invalid; one line names it.
    """
    try:
        return model.model_validate(content, context={"folder": folder})
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        unknown = first["type"] == "extra_forbidden"
        message = "unknown key" if unknown else first["msg"].removeprefix("Value error, ")
        said = unknown or first["type"] in ("missing", "value_error")
        given = "" if said else f", not {first['input']!r}"
        raise error(f"{where}: {key + ': ' if key else ''}{message}{given}") from None
