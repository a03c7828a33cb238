"""Configuration of a run as a document: all of it but the files, which are known by their marks.

A document holds no path. The task's data and backbone are named where a worker may have them: as a
packaged one, or by their id on the hub.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from floss_sim.documents import Section
from floss_sim.methods.method_document import method_from_document, method_to_document
from floss_sim.runs.config import RunConfig
from floss_sim.tasks import Task, hub
from floss_sim.tasks.arrays import DIGITS
from floss_sim.tasks.sections import ClientSection, PartitionSection, ServerSection

# An id has no form of a path that leaves a folder.
HubId = Annotated[str, AfterValidator(hub.check_id)]


class TaskDocument(Section):
    """A task without its files.

    Attributes:
        file: Keys of the task file; ``data.dataset`` and ``backbone.model`` are mere names.
        dataset_id: Packaged data set or hub id; None for local files.
        backbone_id: Hub id of the backbone; None for a local folder.
    """

    file: dict[str, Any]
    dataset_id: HubId | None = None
    backbone_id: HubId | None = None

    @classmethod
    def of(cls, task: Task) -> TaskDocument:
        """Return the document of a task."""
        file = task.model_dump(mode="json", exclude_none=True)
        file["data"]["dataset"] = task.data_name
        file["backbone"]["model"] = hub.public_name(task.backbone.model, task.folder)
        return cls(
            file=file,
            dataset_id=_id(task.data.dataset, task),
            backbone_id=_id(task.backbone.model, task),
        )


class ConfigDocument(Section):
    """A configuration without the files of its task."""

    task: TaskDocument
    method: dict[str, Any]
    rank: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0)]
    fleet: PartitionSection
    client: ClientSection
    server: ServerSection

    @classmethod
    def of(cls, config: RunConfig) -> ConfigDocument:
        """Return the document of a configuration."""
        return cls(
            task=TaskDocument.of(config.task),
            method=method_to_document(config.method),
            rank=config.rank,
            seed=config.seed,
            fleet=config.fleet,
            client=config.client,
            server=config.server,
        )

    def config(self, task: Task) -> RunConfig:
        """Return the configuration with a task whose files are here.

        Raises:
            ConfigError: The values are none of a configuration.
            LayoutError: The rank does not fit the backbone.
        """
        method = method_from_document(self.method)
        return RunConfig(
            task, method, self.rank, self.seed, self.fleet, self.client, self.server
        ).checked()


def _id(reference: str, task: Task) -> str | None:
    is_id = reference == DIGITS or hub.locate(reference, task.folder) is None
    return reference if is_id else None
