"""Task files: what is learned, from which data, on which backbone, with which defaults."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    PrivateAttr,
    model_validator,
)

from floss_sim import documents
from floss_sim.documents import Section
from floss_sim.errors import TaskError
from floss_sim.families import IMAGES, KINDS, NEXT_TOKEN
from floss_sim.tasks import hub
from floss_sim.tasks.content import TaskData, load_content
from floss_sim.tasks.partition import PARTITIONS

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(min_length=1)]
_CHUNK = 2**20


def _one_of(what: str, names: Collection[str]) -> AfterValidator:
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
    def _paired(self) -> PreprocessSection:
        if len(self.mean or ()) != len(self.std or ()):
            raise ValueError("mean and std must hold one number each for every channel")
        return self


class PartitionSection(Section):
    """``[partition]``: how the training data are dealt to the clients.

    Under the law ``column`` each client is one value of the column ``data.group`` with at least
    ``min_examples`` training examples.
    """

    clients: Count
    law: Annotated[str, _one_of("partition", PARTITIONS)]
    alpha: Positive = 1.0
    min_examples: Count = 1


def _one_or_more(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class LoraSection(Section):
    """``[lora]``: targets that get an adapter (see ``floss_sim.families``), alpha, dropout."""

    targets: Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_one_or_more)]
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


class Task(Section):
    """A task file, validated; relative paths in it start at its own folder."""

    name: str
    kind: Annotated[str, _one_of("task kind", KINDS)]
    data: DataSection
    backbone: BackboneSection
    preprocess: PreprocessSection = PreprocessSection()
    partition: PartitionSection
    lora: LoraSection
    client: ClientSection
    server: ServerSection
    _folder: Path = PrivateAttr(default=Path())
    _fetch: bool = PrivateAttr(default=False)

    @model_validator(mode="after")
    def _complete(self) -> Task:
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

    @cached_property
    def backbone_path(self) -> Path:
        """The backbone's local folder.

        Raises:
            TaskError: A hub id that is not in the local cache, and may not or cannot be fetched.
        """
        return hub.backbone_folder(self.backbone.model, self._folder, fetch=self._fetch)

    @cached_property
    def backbone_config(self) -> dict[str, Any]:
        """The backbone's ``config.json``.

        Raises:
            TaskError: Missing or not a JSON object.
        """
        path = self.backbone_path / "config.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TaskError(f"task {self.name!r}: cannot read backbone {path}: {error}") from None
        if not isinstance(content, dict):
            raise TaskError(f"task {self.name!r}: {path} is not a JSON object")
        return content

    @cached_property
    def backbone_hash(self) -> str:
        """SHA-256 of the backbone's config, weights and, if there is one, tokenizer; in hex."""
        folder = self.backbone_path
        weights = sorted(folder.glob("*.safetensors")) or [folder / "model.safetensors"]
        tokenizer = folder / "tokenizer.json"
        digest = hashlib.sha256()
        for path in (folder / "config.json", *weights, *[tokenizer] * tokenizer.is_file()):
            try:
                with path.open("rb") as file:
                    while chunk := file.read(_CHUNK):
                        digest.update(chunk)
            except OSError as error:
                raise TaskError(f"task {self.name!r}: {error}") from None
        return digest.hexdigest()

    @property
    def backbone_bytes(self) -> int:
        """Bytes of the backbone's weights on disk.

        Raises:
            TaskError: There are none.
        """
        _ = self.backbone_hash  # says what is missing
        return sum(path.stat().st_size for path in self.backbone_path.glob("*.safetensors"))

    @cached_property
    def content(self) -> TaskData:
        """The examples, split; read once.

        Raises:
            TaskError: Unreadable data, a missing column, labels outside the classes, an empty
                text, too few rows.
        """
        return load_content(self, self._folder, fetch=self._fetch)


def packaged_tasks() -> tuple[str, ...]:
    """Return the names of the tasks that ship with the package."""
    return documents.packaged(__package__)


def load_task(
    name_or_path: str,
    *,
    dataset: str | None = None,
    backbone: str | None = None,
    fetch: bool = False,
    changes: Mapping[str, Any] | None = None,
) -> Task:
    """Return a packaged task by name, or the task of a TOML file by path.

    Args:
        name_or_path: A packaged name, or a path that ends in ``.toml``.
        dataset: Used instead of ``data.dataset``; relative to the working directory.
        backbone: Used instead of ``backbone.model``; relative to the working directory.
        fetch: Whether what is not in the local hub cache may be downloaded.
        changes: Other keys to set, such as ``{"partition.clients": 20}``.

    Raises:
        TaskError: Unknown name, unreadable file, or a key that is missing, unknown or invalid.
    """
    path = documents.find(name_or_path, __package__, "task", TaskError)
    changed = dict(changes or {})
    for key, reference in (("data.dataset", dataset), ("backbone.model", backbone)):
        if reference is not None:
            changed[key] = hub.from_working_directory(reference)
    task = documents.read(path, Task, TaskError, changed)
    task._folder, task._fetch = path.parent, fetch
    return task
