"""Sections of a task file: field types, one class for each TOML table, and the whole file."""

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

from floss_sim.documents import OneLine, Section
from floss_sim.errors import ConfigError
from floss_sim.families import IMAGES, KINDS, NEXT_TOKEN
from floss_sim.tasks import hub
from floss_sim.tasks.fixed_split import RANDOM, SPLITS
from floss_sim.tasks.partition import PARTITIONS, check_law

# Training computes in float32, up to 3.4e38. Optimisers divide a learning rate by 0.1, multiply it
# by the weight decay, and square tau: with these limits all of that stays within float32.
_MOST = 1e30
Positive = Annotated[float, Field(gt=0, le=_MOST, allow_inf_nan=False)]
Deviation = Annotated[float, Field(ge=1 / _MOST, le=_MOST, allow_inf_nan=False)]
Finite = Annotated[float, Field(ge=-_MOST, le=_MOST, allow_inf_nan=False)]
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


def _delimiter(sign: str) -> str:
    sign = "\t" if sign == "tab" else sign
    if len(sign) != 1 or sign in '"\r\n':
        raise ValueError("must be one character, such as ',', ';', '|' or 'tab'")
    return sign


class DataSection(Section):
    """``[data]``: the data set, its columns, and the fixed split.

    ``dataset`` is ``sklearn-digits``, a local path (npz, CSV, JSON lines, Parquet, a folder of
    such files or of images), or a hub id with its ``config`` and ``revision``. ``validation`` is a
    number of training rows; ``test`` is a number of training rows or the name of a split. Such
    rows are drawn by the kind ``split`` with the seed ``split_seed``, as
    :mod:`floss_sim.tasks.fixed_split` describes. With a ``split_column``, names of splits are
    values of that column.

    ``duplicates`` tells whether training examples whose content is also in another split are kept
    or dropped. ``delimiter`` and ``decimal`` are the signs of CSV files; they are found by default.
    """

    dataset: Annotated[Name, Field(examples=["data.csv"])]
    config: str | None = None
    revision: str | None = None
    input: str | None = None
    label: str | None = None
    group: str | None = None
    classes: Annotated[int, Field(ge=2, le=100_000)] | None = None
    train: Name = "train"
    validation: Count
    test: Annotated[int | str, PlainValidator(_count_or_name), Field(examples=[200, "test"])]
    split: Annotated[str, _member_validator("kind of split", SPLITS)] = RANDOM
    split_seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    split_column: str | None = None
    limit: Count | None = None
    drop_empty: bool = False
    duplicates: Literal["keep", "drop"] = "keep"
    delimiter: Annotated[str, AfterValidator(_delimiter)] | None = None
    decimal: Literal[".", ","] | None = None


class BackboneSection(Section):
    """``[backbone]``: a local folder with config.json and safetensors, or a hub id.

    ``hub_id`` says under which id others find the backbone, if ``model`` is a local copy.
    """

    model: Annotated[Name, Field(examples=["google/vit-base-patch16-224"])]
    hub_id: Annotated[str, AfterValidator(hub.check_id)] | None = None


class PreprocessSection(Section):
    """``[preprocess]``: conversion of images and texts to the backbone's input.

    ``image_size`` is the side in pixels to which images are resized. ``mean`` and ``std`` normalise
    each channel after scaling to 0 .. 1. ``max_length`` is the maximum length of a text in tokens;
    longer texts are cut.
    """

    image_size: Count | None = None
    mean: tuple[Finite, ...] | None = None
    std: tuple[Deviation, ...] | None = None
    max_length: Annotated[int, Field(ge=2)] | None = None

    @model_validator(mode="after")
    def _check_pairs(self) -> PreprocessSection:
        if len(self.mean or ()) != len(self.std or ()):
            raise ValueError("mean and std must each hold one number for every channel")
        return self


class PartitionSection(Section):
    """``[partition]``: the partition of the training examples over the clients.

    Under the law ``column`` each client is one value of the column ``data.group`` with at least
    ``min_examples`` training examples.
    """

    clients: Count
    law: Annotated[
        str, _member_validator("partition", PARTITIONS), Field(examples=sorted(PARTITIONS))
    ]
    alpha: Positive = 1.0
    min_examples: Count = 1


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class LoraSection(Section):
    """``[lora]``: target modules of the adapters (see ``floss_sim.families``), alpha, dropout.

    ``dora`` trains a magnitude vector besides (DoRA), ``rslora`` scales by alpha / sqrt(rank), and
    ``depth`` or ``layers`` choose the last layers, or the numbers of the layers, that get adapters.
    """

    targets: Annotated[
        tuple[str, ...], Field(min_length=1, examples=[["q", "v"]]), BeforeValidator(_as_tuple)
    ]
    alpha: Positive
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    dora: bool = False
    rslora: bool = False
    depth: Count | None = None
    layers: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] | None = None


class ClientSection(Section):
    """``[client]``: settings of local SGD; at most 1,000 epochs and a batch of 2**20 examples.

    ``frozen_prefix`` keeps the activations below the first trained layer for each example.
    ``frozen_dropout = false`` leaves out the dropout below that layer, so that activations can be
    kept of backbones that have one.
    """

    learning_rate: Positive
    momentum: Annotated[float, Field(ge=0, lt=1)]
    batch_size: Annotated[int, Field(ge=1, le=2**20)]
    epochs: Annotated[int, Field(ge=1, le=1000)]
    precision: Literal["fp32", "bf16"] = "fp32"
    gradient_checkpointing: bool = False
    frozen_prefix: bool = True
    frozen_dropout: bool = True

    @model_validator(mode="after")
    def _check_prefix(self) -> ClientSection:
        if not (self.frozen_prefix or self.frozen_dropout):
            raise ValueError("frozen_dropout = false needs frozen_prefix = true")
        return self


class ServerSection(Section):
    """``[server]``: the server's optimiser and the number of clients in a cohort.

    ``momentum`` is used by fedavgm, ``tau`` by fedyogi and fedadagrad, ``weight_decay`` by
    fedadamw. The other optimisers ignore these keys.
    """

    optimizer: Literal["fedadam", "fedadamw", "fedavg", "fedavgm", "fedyogi", "fedadagrad"]
    learning_rate: Positive
    cohort: Count
    weighting: Literal["uniform", "examples"] = "uniform"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    tau: Annotated[float, Field(gt=0, le=1e15, allow_inf_nan=False)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] = 0.01


class TaskFile(Section):
    """All keys of a task file: task kind, data, backbone, partition and training settings."""

    name: Annotated[OneLine, Field(examples=["mine"])]
    kind: Annotated[str, _member_validator("task kind", KINDS), Field(examples=list(KINDS))]
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
            raise ValueError(f"data.classes: missing for {self.kind}; valid: a number from 2")
        if self.kind != IMAGES and self.preprocess.max_length is None:
            told = f"missing for {self.kind}; valid: a number of tokens from 2"
            raise ValueError(f"preprocess.max_length: {told}")
        try:
            check_law(self.partition.law, self.labels)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        if self.data.test == self.data.train:
            raise ValueError(f"data.test: {self.data.test!r} is also the training split")
        return self

    @property
    def labels(self) -> int:
        """Number of classes; 0 for next-token prediction."""
        return 0 if self.kind == NEXT_TOKEN else self.data.classes or 0
