"""Model tables: names, classes and shapes of a model's parameters, as plain data.

A table says what an adapter can be attached to. It is made once from the model library
(:mod:`floss_sim.families.from_library`) and kept as JSON. In JSON, parameters of equal shape whose
names differ only in numbers share one row, so that a model of 36 layers takes about 1 kB.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, groupby
from math import prod
from typing import Any

LINEAR, CONV1D, CONV2D, EMBEDDING = "linear", "conv1d", "conv2d", "embedding"
LABELS = -1  # side of a shape: the number of classes
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")

Shape = tuple[int, ...]


@dataclass(frozen=True)
class ModelTable:
    """Parameters of a model of one task kind.

    Attributes:
        model_type: The model library's name of the family, such as ``qwen2``.
        parameters: Shape of each parameter by its name in the model library. Tied parameters are
            listed once. A side of a new head that has the length of the classes is ``LABELS``.
        modules: Class of each module that PEFT can adapt, by path; a tied output head included:
            ``linear``, ``conv1d`` (a linear layer that stores its weight as (in, out)), ``conv2d``
            or ``embedding``.
        head: Paths of the modules that are new for the task, such as ``classifier``.
        output: Path of the output head of a language model; empty if there is none.
        tied: Shape of the weight of each embedding that is tied to another one, by path.
        defaults: Sizes that the config does not state, with the model library's defaults; None for
            a part of the config that it does not state at all.
    """

    model_type: str
    parameters: Mapping[str, Shape]
    modules: Mapping[str, str]
    head: tuple[str, ...] = ()
    output: str = ""
    tied: Mapping[str, Shape] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @cached_property
    def entries(self) -> int:
        """Number of entries of all parameters."""
        return sum(map(prod, self.parameters.values()))

    @property
    def output_shape(self) -> Shape:
        """Shape of the weight of the output head, also if it is tied; empty if there is none."""
        embeddings = (path for path, kind in self.modules.items() if kind == EMBEDDING)
        tied = (self.weight_shape(path) for path in embeddings)
        own = self.parameters.get(f"{self.output}.weight")
        return (own or max(tied, default=())) if self.output else ()

    def weight_shape(self, path: str) -> Shape:
        """Return the shape of the weight of a module that an adapter can be attached to."""
        if path == self.output:
            return self.output_shape
        return self.tied.get(path) or self.parameters[f"{path}.weight"]

    def with_labels(self, labels: int) -> ModelTable:
        """Return the table of a model with this number of classes; 0 for next-token prediction."""
        sized = {
            name: tuple(labels if side == LABELS else side for side in shape)
            for name, shape in self.parameters.items()
        }
        return replace(self, parameters=sized)

    def below(self, path: str) -> Iterator[str]:
        """Yield the names of the parameters of a module and of the modules in it."""
        for name in self.parameters:
            if name == path or name.startswith(f"{path}."):
                yield name

    def to_json(self) -> dict[str, Any]:
        """Return the table as plain values, equal rows of several layers written once."""
        return {
            "model_type": self.model_type,
            "parameters": _fold(self.parameters),
            "modules": _fold(self.modules),
            "head": list(self.head),
            "output": self.output,
            **({"tied": _fold(self.tied)} if self.tied else {}),
            **({"defaults": dict(self.defaults)} if self.defaults else {}),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ModelTable:
        """Return the table of plain values, as :meth:`to_json` returns them.

        Raises:
            KeyError: A key is missing.
            TypeError: A value has another type than :meth:`to_json` writes.
            ValueError: A value is no number where one is written.
        """
        return cls(
            model_type=str(content["model_type"]),
            parameters=dict(_unfold_shapes(content["parameters"])),
            modules={path: str(kind) for path, kind in _unfold(content["modules"])},
            head=tuple(str(path) for path in content["head"]),
            output=str(content["output"]),
            tied=dict(_unfold_shapes(content.get("tied", []))),
            defaults=dict(content.get("defaults", {})),
        )


def _fold(rows: Mapping[str, Any]) -> list[list[Any]]:
    """Return rows [name, value] or [name with * for numbers, value, numbers]."""
    folded: dict[tuple[str, Any], list[tuple[int, ...]]] = {}
    for name, value in rows.items():
        numbers = tuple(int(number) for number in _NUMBER.findall(name))
        folded.setdefault((_NUMBER.sub("*", name), value), []).append(numbers)
    return [
        [pattern, list(value) if isinstance(value, tuple) else value, *_written(numbers)]
        for (pattern, value), numbers in folded.items()
    ]


def _unfold(rows: Sequence[Sequence[Any]]) -> Iterator[tuple[str, Any]]:
    """Yield (name, value) of rows that :func:`_fold` returned."""
    for pattern, value, *written in rows:
        for numbers in _read_numbers(*written):
            parts = str(pattern).split("*")
            if len(parts) != len(numbers) + 1:
                raise ValueError(f"{pattern!r} needs {len(parts) - 1} numbers")
            between = (*map(str, numbers), "")
            yield "".join(chain.from_iterable(zip(parts, between, strict=True))), value


def _unfold_shapes(rows: Sequence[Sequence[Any]]) -> Iterator[tuple[str, Shape]]:
    for name, shape in _unfold(rows):
        yield name, tuple(int(side) for side in shape)


def _written(numbers: Sequence[tuple[int, ...]]) -> list[Any]:
    """Return numbers as ranges such as ``0-27`` if each name holds one, and no item if none."""
    if numbers == [()]:
        return []
    if any(len(one) != 1 for one in numbers):
        return [[list(one) for one in numbers]]
    flat = sorted(one[0] for one in numbers)
    runs = groupby(enumerate(flat), key=lambda pair: pair[1] - pair[0])
    found = [[number for _, number in run] for _, run in runs]
    return [",".join(f"{run[0]}-{run[-1]}" for run in found)]


def _read_numbers(written: str | Sequence[Sequence[int]] = ((),)) -> Iterator[Sequence[int]]:
    """Yield the numbers of each name, from what :func:`_written` returned."""
    if not isinstance(written, str):
        yield from written
        return
    for run in written.split(","):
        first, last = run.split("-")
        yield from ([number] for number in range(int(first), int(last) + 1))
