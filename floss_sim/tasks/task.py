"""Tasks: a task file with the place it was read from, its backbone and its examples."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import PrivateAttr

from floss_sim import documents
from floss_sim.errors import TaskError
from floss_sim.tasks import hub
from floss_sim.tasks.backbone_files import BackboneFiles
from floss_sim.tasks.examples import TaskData, load_content
from floss_sim.tasks.sections import TaskFile


class Task(TaskFile):
    """A task file, validated, whose relative paths start at a folder; made by :meth:`of`."""

    _folder: Path = PrivateAttr(default=Path())
    _fetch: bool = PrivateAttr(default=False)

    @classmethod
    def of(cls, file: TaskFile, folder: Path, *, fetch: bool = False) -> Self:
        """Return the task of a file.

        Args:
            file: The validated keys.
            folder: Where relative paths start.
            fetch: Whether what is not in the local hub cache may be downloaded.
        """
        task = cls(**{name: getattr(file, name) for name in file.model_fields_set})
        task._folder, task._fetch = folder, fetch
        return task

    @cached_property
    def _backbone(self) -> BackboneFiles:
        where = f"task {self.name!r}"
        return BackboneFiles(self.backbone.model, self._folder, self._fetch, where)

    @property
    def backbone_path(self) -> Path:
        """The backbone's local folder; raises as :attr:`BackboneFiles.path`."""
        return self._backbone.path

    @property
    def backbone_config(self) -> dict[str, Any]:
        """The backbone's ``config.json``; raises as :attr:`BackboneFiles.config`."""
        return self._backbone.config

    @property
    def backbone_hash(self) -> str:
        """SHA-256 of the backbone's files in hex; raises as :attr:`BackboneFiles.digest`."""
        return self._backbone.digest

    @property
    def backbone_bytes(self) -> int:
        """Bytes of the backbone's weights; raises as :meth:`BackboneFiles.weights_nbytes`."""
        return self._backbone.weights_nbytes()

    @cached_property
    def content(self) -> TaskData:
        """The examples, split; read once.

        Raises:
            TaskError: Unreadable data, a missing column, labels outside the classes, an empty
                text, too few rows.
        """
        return load_content(self, self._backbone, self._folder, fetch=self._fetch)


def packaged_tasks() -> tuple[str, ...]:
    """Return the names of the tasks that ship with the package."""
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
            changed[key] = hub.absolute_reference(reference)
    return Task.of(documents.read(path, TaskFile, TaskError, changed), path.parent, fetch=fetch)
