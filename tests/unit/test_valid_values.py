"""Valid values of keys in words: examples are valid, and refused documents name them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, get_args

import pytest
from pydantic import ConfigDict, Field, TypeAdapter, ValidationInfo, field_validator

from floss_sim.documents import Section, validate
from floss_sim.errors import ConfigError
from floss_sim.network import NetworkProfile
from floss_sim.tasks.sections import TaskFile
from floss_sim.valid_values import valid_values


class Law(Section):
    model_config = ConfigDict(json_schema_extra={"examples": ["1 s"]})

    mean: float


class Made(Section):
    count: Annotated[int, Field(ge=1, le=9, examples=[])]
    share: Annotated[float, Field(gt=0, lt=1)] | None = Field()
    size: Annotated[float, Field(ge=-2, le=1e30)]
    way: Literal["up", "down"]
    name: Annotated[str, Field(examples=["é", 3])]
    law: Law | None
    flag: bool
    parts: tuple[str, ...]
    others: dict[str, float]


WORDS = {
    "count": "a whole number from 1 up to 9",
    "share": "a number",
    "size": "a number from -2",
    "way": "up, down",
    "name": 'a value such as "é" or 3',
    "law": '"1 s" or a table with keys of mean',
    "flag": "true or false",
    "parts": "a list",
    "others": "a table",
}


@pytest.mark.parametrize("key", WORDS)
def test_types_bounds_and_examples_are_told(key: str):
    assert valid_values(Made, key) == WORDS[key]
    with pytest.raises(ConfigError) as error:
        given = {name: None for name in Made.model_fields if name != key}
        validate(given, Alone, ConfigError, "a.toml", context={"key": key})
    assert str(error.value) == f"a.toml: {key}: missing; valid: {WORDS[key]}"


class Alone(Made):
    """Reports its missing keys alone: what is given is taken as it is."""

    @field_validator("*", mode="wrap")
    @classmethod
    def _take(cls, given: object, check: object, info: ValidationInfo) -> object:
        return given


def sections(annotation: object) -> Iterator[type[Section]]:
    """Yield the section classes of a type and of their keys."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
        for info in annotation.model_fields.values():
            yield from sections(info.annotation)
    for part in get_args(annotation):
        yield from sections(part)


@pytest.mark.parametrize("document", [NetworkProfile, TaskFile])
def test_the_examples_of_keys_are_valid(document: type[Section]):
    shown = 0
    for section in {*sections(document)}:
        for example in (section.model_config.get("json_schema_extra") or {}).get("examples", ()):
            section.model_validate(example)
        for info in section.model_fields.values():
            for example in info.examples or ():
                TypeAdapter(Annotated[info.annotation, info]).validate_python(example)
                shown += 1
    assert shown > 5


def test_a_missing_table_is_told_with_its_keys():
    with pytest.raises(ConfigError, match="lora: missing; valid: a table with keys of targets, a"):
        validate({"name": "x", "kind": "image-classification", "data": {
            "dataset": "d", "validation": 1, "test": 1, "classes": 2},
            "backbone": {"model": "m"}, "partition": {"clients": 1, "law": "iid"},
        }, TaskFile, ConfigError, "a.toml")  # fmt: skip
