"""Task: a validated task file with its folder, its backbone and its examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import PrivateAttr

from floss_sim import documents
from floss_sim.errors import TaskError
from floss_sim.families import IMAGES, model_inputs
from floss_sim.tasks import hub
from floss_sim.tasks.backbone_files import BackboneFiles
from floss_sim.tasks.examples import load_content, load_own_examples
from floss_sim.tasks.normalisation import Normalisation
from floss_sim.tasks.preprocess_checks import is_array_file
from floss_sim.tasks.sections import TaskFile
from floss_sim.tasks.task_data import TaskData
from floss_sim.tasks.text import TokenizerUse, tokenizer_use


class Task(TaskFile):
    """A validated task file and the folder of its relative paths; created by :meth:`of`."""

    _folder: Path = PrivateAttr(default=Path())
    _fetch: bool = PrivateAttr(default=False)
    _examples_of: Task | None = PrivateAttr(default=None)
    _own_examples: TaskData | None = PrivateAttr(default=None)

    @classmethod
    def of(cls, file: TaskFile, folder: Path, *, fetch: bool = False) -> Self:
        """Return the task of a task file.

        Args:
            file: The validated keys of the task file.
            folder: The folder to which relative paths refer.
            fetch: Whether files missing in the local hub cache may be downloaded.
        """
        task = cls(**{name: getattr(file, name) for name in file.model_fields_set})
        task._folder, task._fetch = folder, fetch
        return task

    @property
    def folder(self) -> Path:
        """The folder to which the task's relative paths refer."""
        return self._folder

    def with_content(self, content: TaskData) -> Task:
        """Return this task with examples that were read before.

        Args:
            content: The examples.
        """
        made = Task.of(self, self._folder, fetch=self._fetch)
        made._own_examples = content
        return made

    def at_depth(self, depth: int) -> Task:
        """Return this task with adapters on the last layers alone; both share the examples.

        Args:
            depth: Number of layers, counted from the last.
        """
        lora = self.lora.model_copy(update={"depth": depth, "layers": None})
        made = self.model_copy(update={"lora": lora})
        made._examples_of = self
        return made

    def with_own_examples(
        self, reference: str, names: Sequence[str] = (), *, validation: str = ""
    ) -> Task:
        """Return this task with all examples of another data set as training examples.

        A node of a deployed run trains on its own data in this way.

        Args:
            reference: A local file or folder in the form of the task's data set.
            names: Class names in the order of the class numbers; empty where labels are numbers.
            validation: Another one, whose examples are held out; empty: none is.

        Raises:
            TaskError: The data cannot be read, hold no example, or have a label outside the names.
        """
        data = self.data.model_copy(update={"dataset": hub.absolute_reference(reference)})
        made = Task.of(self.model_copy(update={"data": data}), self._folder, fetch=self._fetch)
        content = load_own_examples(made, made.backbone_files, tuple(names))
        if validation:
            held_out = self.with_own_examples(validation, names).content
            content = replace(content, validation=held_out.train)
        made._own_examples = content
        return made

    def with_rates(self, client_lr: float, server_lr: float) -> Task:
        """Return this task with other learning rates; both share the examples.

        Args:
            client_lr: Learning rate of local SGD.
            server_lr: Learning rate of the server's optimiser.
        """
        client = self.client.model_copy(update={"learning_rate": client_lr})
        server = self.server.model_copy(update={"learning_rate": server_lr})
        made = self.model_copy(update={"client": client, "server": server})
        made._examples_of = self
        return made

    @cached_property
    def backbone_files(self) -> BackboneFiles:
        """The files of the backbone."""
        where = f"task {self.name!r}"
        return BackboneFiles(self.backbone.model, self._folder, self._fetch, where)

    @property
    def backbone_path(self) -> Path:
        """The backbone's local folder; raises errors of :attr:`BackboneFiles.path`."""
        return self.backbone_files.path

    @property
    def hub_id(self) -> str | None:
        """The backbone's id on the hub; None for a local folder of which the task names no id."""
        own = self.backbone.model
        return self.backbone.hub_id or (own if hub.locate(own, self._folder) is None else None)

    @property
    def backbone_name(self) -> str:
        """The backbone's id on the hub, or the name of its local folder."""
        return self.hub_id or hub.public_name(self.backbone.model, self._folder)

    @property
    def data_name(self) -> str:
        """The data set's id on the hub, or the name of its local file or folder."""
        return hub.public_name(self.data.dataset, self._folder)

    @property
    def backbone_config(self) -> dict[str, Any]:
        """The backbone's ``config.json``; raises errors of :attr:`BackboneFiles.config`."""
        return self.backbone_files.config

    @property
    def backbone_hash(self) -> str:
        """SHA-256 of the backbone's files in hex; raises errors of :attr:`BackboneFiles.digest`."""
        return self.backbone_files.digest

    @property
    def backbone_bytes(self) -> int:
        """Bytes of backbone weights; raises errors of :meth:`BackboneFiles.weights_nbytes`."""
        return self.backbone_files.weights_nbytes()

    def check_weights(self) -> None:
        """Check the backbone's weights; raises errors of :meth:`BackboneFiles.check_weights`."""
        self.backbone_files.check_weights(self.labels)

    @cached_property
    def normalisation(self) -> Normalisation | None:
        """Normalisation of images; None for texts and for arrays that the backbone reads unchanged.

        The task's own mean and std take precedence over the backbone's image processor file.

        Raises:
            TaskError: The file is used and is damaged, or asks for something not supported.
        """
        if self.kind != IMAGES or is_array_file(self.data.dataset):
            return None
        chosen = self.preprocess
        if chosen.mean is not None:
            return Normalisation(chosen.mean, chosen.std)
        return self.backbone_files.normalisation

    @cached_property
    def tokenizer_use(self) -> TokenizerUse | None:
        """Cutting and padding of texts; None for images.

        Raises:
            TaskError: A file of the tokenizer is missing or damaged.
            LayoutError: The model library cannot build the backbone.
        """
        if self.kind == IMAGES:
            return None
        return tokenizer_use(self.backbone_path, model_inputs(self.backbone_config, self.kind))

    @cached_property
    def content(self) -> TaskData:
        """The examples in their fixed split; read on first access and then kept.

        Raises:
            TaskError: Unreadable data, a missing column, labels outside the classes, an empty
                text, or too few rows.
        """
        if self._own_examples:
            return self._own_examples
        if self._examples_of:
            return self._examples_of.content
        return load_content(self, self.backbone_files, self._folder, fetch=self._fetch)


def packaged_tasks() -> tuple[str, ...]:
    """Return the names of the packaged tasks."""
    return documents.packaged_names(__package__)


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
        name_or_path: The name of a packaged task, or a path that ends in ``.toml``.
        dataset: Replaces ``data.dataset``; a path is relative to the working directory.
        backbone: Replaces ``backbone.model``; a path is relative to the working directory.
        fetch: Whether files missing in the local hub cache may be downloaded.
        changes: Other keys to change and their values, such as ``{"partition.clients": 20}``.

    Raises:
        TaskError: Unknown name, unreadable file, or a key that is missing, unknown or invalid.

    Example:
        >>> from floss_sim import load_task
        >>> load_task("digits", changes={"partition.clients": 20}).partition.clients
        20
    """
    path = documents.find(name_or_path, __package__, "task", TaskError)
    changed = dict(changes or {})
    for key, reference in (("data.dataset", dataset), ("backbone.model", backbone)):
        if reference is not None:
            changed[key] = hub.absolute_reference(reference)
    return Task.of(documents.read(path, TaskFile, TaskError, changed), path.parent, fetch=fetch)
