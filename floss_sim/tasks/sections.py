"""Sections of a task file: field types, one class a TOML table, and the whole file."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    model_validator,
)

from floss_sim.documents import Section
from floss_sim.families import IMAGES, KINDS, NEXT_TOKEN
from floss_sim.tasks.partition import PARTITIONS

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(min_length=1)]


def _member_validator(what: str, names: Collection[str]) -> AfterValidator:
    def check(name: str) -> str:
        if name not in names:
            raise ValueError(f"unknown {what} {name!r}; valid: {', '.join(names)}")
        return name

    return AfterValidator(check)


def _count_or_name(value: object) -> int | str:
    if (isinstance(value, str) and value) or (type(value) is int and value >= 1):
        return value
    raise ValueError(f"must be a count above 0 or the name of a split, not {value!r}")


class DataSection(Section):
    """``[data]``: where the examples are, their columns, and the fixed split.

    ``dataset`` is ``sklearn-digits``, a local path (npz, CSV, JSON lines, Parquet, a folder of
    them or of images), or a hub id with its ``config`` and ``revision``. ``validation`` is a
    count taken from the training rows; ``test`` is a count too, or the name of a split. With a
    ``split_column``, names of splits are values of that column.
    """

    dataset: Name
    config: str | None = None
    revision: str | None = None
    input: str | None = None
    label: str | None = None
    group: str | None = None
    classes: Annotated[int, Field(ge=2)] | None = None
    train: Name = "train"
    validation: Count
    test: Annotated[int | str, PlainValidator(_count_or_name)]
    split_column: str | None = None
    limit: Count | None = None
    drop_empty: bool = False


class BackboneSection(Section):
    """``[backbone]``: a local folder with config.json and safetensors, or a hub id."""

    model: Name


class PreprocessSection(Section):
    """``[preprocess]``: what is done to an example before the backbone sees it.

    ``image_size`` is the side that images are resized to, ``mean`` and ``std`` normalise each
    channel after scaling to 0 .. 1, and ``max_length`` is where texts are cut, in tokens.
    """

    image_size: Count | None = None
    mean: tuple[Finite, ...] | None = None
    std: tuple[Positive, ...] | None = None
    max_length: Annotated[int, Field(ge=2)] | None = None

    @model_validator(mode="after")
    def _check_pairs(self) -> PreprocessSection:
        if len(self.mean or ()) != len(self.std or ()):
            raise ValueError("mean and std must hold one number each for every channel")
        return self


class PartitionSection(Section):
    """``[partition]``: how the training data are dealt to the clients.

    Under the law ``column`` each client is one value of the column ``data.group`` with at least
    ``min_examples`` training examples.
    """

    clients: Count
    law: Annotated[str, _member_validator("partition", PARTITIONS)]
    alpha: Positive = 1.0
    min_examples: Count = 1


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class LoraSection(Section):
    """``[lora]``: targets that get an adapter (see ``floss_sim.families``), alpha, dropout."""

    targets: Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_as_tuple)]
    alpha: Positive
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class ClientSection(Section):
    """``[client]``: local SGD."""

    learning_rate: Positive
    momentum: Annotated[float, Field(ge=0, lt=1)]
    batch_size: Count
    epochs: Count
    precision: Literal["fp32", "bf16"] = "fp32"
    gradient_checkpointing: bool = False


class ServerSection(Section):
    """``[server]``: the server's optimiser and the cohort.

    ``momentum`` belongs to fedavgm, ``tau`` to fedyogi and fedadagrad, ``weight_decay`` to
    fedadamw; the others ignore them.
    """

    optimizer: Literal["fedadam", "fedadamw", "fedavg", "fedavgm", "fedyogi", "fedadagrad"]
    learning_rate: Positive
    cohort: Count
    weighting: Literal["uniform", "examples"] = "uniform"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    tau: Positive = 1e-3
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01


class TaskFile(Section):
    """A task file's own keys: what is learned, from which data, on which backbone."""

    name: str
    kind: Annotated[str, _member_validator("task kind", KINDS)]
    data: DataSection
    backbone: BackboneSection
    preprocess: PreprocessSection = PreprocessSection()
    partition: PartitionSection
    lora: LoraSection
    client: ClientSection
    server: ServerSection

    @model_validator(mode="after")
    def _check_required(self) -> Self:
        if self.kind != NEXT_TOKEN and self.data.classes is None:
            raise ValueError(f"data.classes: required for {self.kind}")
        if self.kind != IMAGES and self.preprocess.max_length is None:
            raise ValueError(f"preprocess.max_length: required for {self.kind}")
        if self.data.test == self.data.train:
            raise ValueError(f"data.test: {self.data.test!r} is what is trained on")
        return self

    @property
    def labels(self) -> int:
        """Number of classes; 0 for next-token prediction."""
        return 0 if self.kind == NEXT_TOKEN else self.data.classes or 0
