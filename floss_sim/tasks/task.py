"""Task files: what is learned, from which data, on which backbone, with which defaults."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, PrivateAttr

from floss_sim import documents
from floss_sim.documents import Section
from floss_sim.errors import TaskError
from floss_sim.families import KINDS, NEXT_TOKEN
from floss_sim.tasks.datasets import SOURCES, Arrays
from floss_sim.tasks.partition import PARTITIONS

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


def _one_of(what: str, names: Collection[str]) -> AfterValidator:
    def check(name: str) -> str:
        if name not in names:
            raise ValueError(f"unknown {what} {name!r}; valid: {', '.join(names)}")
        return name

    return AfterValidator(check)


class DataSection(Section):
    """``[data]``: source, its options, and the sizes of the fixed split."""

    source: Annotated[str, _one_of("data source", SOURCES)]
    path: str | None = None
    classes: Annotated[int, Field(ge=2)]
    validation: Count
    test: Count


class BackboneSection(Section):
    """``[backbone]``: a local folder with config.json and model.safetensors."""

    path: str


class PartitionSection(Section):
    """``[partition]``: how the training data are dealt to the clients."""

    clients: Count
    law: Annotated[str, _one_of("partition", PARTITIONS)]
    alpha: Positive = 1.0


class LoraSection(Section):
    """``[lora]``: targets that get an adapter (see ``floss_sim.families``), alpha, dropout."""

    targets: Annotated[tuple[str, ...], Field(min_length=1)]
    alpha: Positive
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class PreprocessSection(Section):
    """``[preprocess]``: what is done to images of whole numbers, and the tokens of a text."""

    image_size: Count | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    max_length: Count | None = None


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
    """A task file, validated; ``folder`` is where its relative paths start."""

    name: str
    kind: Annotated[str, _one_of("task kind", KINDS)]
    data: DataSection
    backbone: BackboneSection
    partition: PartitionSection
    lora: LoraSection
    client: ClientSection
    server: ServerSection
    preprocess: PreprocessSection = PreprocessSection()
    _folder: Path = PrivateAttr(default=Path())

    @property
    def labels(self) -> int:
        """Number of classes of a new head; 0 for next-token prediction."""
        return 0 if self.kind == NEXT_TOKEN else self.data.classes

    @property
    def backbone_path(self) -> Path:
        """The backbone's folder."""
        return self._folder / self.backbone.path

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
        """SHA-256 of the backbone's config and weights, in hex."""
        digest = hashlib.sha256()
        for name in ("config.json", "model.safetensors"):
            try:
                digest.update((self.backbone_path / name).read_bytes())
            except OSError as error:
                raise TaskError(f"task {self.name!r}: {error}") from None
        return digest.hexdigest()

    @cached_property
    def content(self) -> TaskData:
        """The examples, split; read once.

        Raises:
            TaskError: Unreadable data, labels outside the classes, too few rows.
        """
        x, y = SOURCES[self.data.source](self.data.model_dump(exclude_none=True), self._folder)
        return _split(self, x, y)


@dataclass(frozen=True, eq=False)
class TaskData:
    """Examples of the fixed split: training (clients), validation (choices), test (reports)."""

    train: Arrays
    validation: Arrays
    test: Arrays

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all arrays and their shapes in split order, in hex."""
        digest = hashlib.sha256()
        for x, y in (self.train, self.validation, self.test):
            digest.update(repr(x.shape).encode())
            digest.update(np.ascontiguousarray(x).tobytes())
            digest.update(y.tobytes())
        return digest.hexdigest()


def _split(task: Task, x: NDArray[np.float32], y: NDArray[np.int64]) -> TaskData:
    held_out = task.data.validation + task.data.test
    if len(y) <= held_out:
        raise TaskError(f"task {task.name!r}: {len(y)} examples leave none beside the {held_out}")
    if y.min() < 0 or y.max() >= task.data.classes:
        raise TaskError(f"task {task.name!r}: labels outside 0 to {task.data.classes - 1}")
    # This very permutation: the digits backbone was chosen with its last 350 rows unseen.
    order = np.random.default_rng(0).permutation(len(y))
    parts = np.split(order, [len(y) - held_out, len(y) - task.data.test])
    train, validation, test = ((x[part], y[part]) for part in parts)
    return TaskData(train, validation, test)


def packaged_tasks() -> tuple[str, ...]:
    """Return the names of the tasks that ship with the package."""
    return documents.packaged(__package__)


def load_task(name_or_path: str) -> Task:
    """Return a packaged task by name, or the task of a TOML file by path.

    Raises:
        TaskError: Unknown name, unreadable file, or a key that is missing, unknown or invalid.
    """
    path = documents.find(name_or_path, __package__, "task", TaskError)
    task = documents.read(path, Task, TaskError)
    task._folder = path.parent
    return task
