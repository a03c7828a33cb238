"""Where a plan's task and network came from, and by what they are known again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from floss_sim.documents import Section
from floss_sim.errors import PlanError
from floss_sim.fingerprints import fingerprint
from floss_sim.network import NetworkProfile, load_profile
from floss_sim.tasks import Task, load_task
from floss_sim.tasks.hub import absolute_reference
from planner.question.field_types import OneLine, Positive


class Origin(Section):
    """How a task and a network were asked for, so that a plan can be applied later.

    Local paths are absolute. ``marks`` are fingerprints of what was found there.
    """

    task: OneLine
    dataset: OneLine | None = None
    backbone: OneLine | None = None
    changes: dict[str, Any] = Field(default_factory=dict)
    network: OneLine
    upload_ratio: Positive | None = None
    marks: dict[str, OneLine] = Field(default_factory=dict)

    @classmethod
    def of(
        cls,
        task: Task,
        profile: NetworkProfile,
        *,
        names: tuple[str, str],
        dataset: str | None = None,
        backbone: str | None = None,
        changes: Mapping[str, Any] | None = None,
        upload_ratio: float | None = None,
    ) -> Origin:
        """Return the origin of a task and a network that were loaded by these arguments.

        Args:
            task: The task.
            profile: The network.
            names: As they were given, of the task and of the network: packaged, or paths.
            dataset: As of ``load_task``, likewise the next two.
            backbone: Likewise.
            changes: Likewise.
            upload_ratio: What the network's up rates were changed to, if they were.
        """
        return cls(
            task=_lasting_name(names[0]),
            dataset=dataset and absolute_reference(dataset),
            backbone=backbone and absolute_reference(backbone),
            changes=dict(changes or {}),
            network=_lasting_name(names[1]),
            upload_ratio=upload_ratio,
            marks=_marks(task, profile),
        )

    def reload(self, *, fetch: bool) -> tuple[Task, NetworkProfile]:
        """Return the task and the network, loaded again.

        Args:
            fetch: Whether what is not in the local hub cache may be downloaded.

        Raises:
            ConfigError: One of them cannot be loaded.
            PlanError: One has changed; says what of it.
        """
        task = load_task(
            self.task, dataset=self.dataset, backbone=self.backbone, fetch=fetch,
            changes=self.changes,
        )  # fmt: skip
        profile = load_profile(self.network)
        if self.upload_ratio is not None:
            profile = profile.with_upload_ratio(self.upload_ratio)
        found = _marks(task, profile)
        changed = sorted(what for what in found if found[what] != self.marks.get(what))
        if changed:
            raise PlanError(
                f"{', '.join(changed)} changed since the plan was made (task {self.task}, "
                f"network {self.network}); plan again"
            )
        return task, profile


def _lasting_name(name: str) -> str:
    """Return a packaged name, or the absolute path of a file."""
    return str(Path(name).absolute()) if name.endswith(".toml") else name


def _marks(task: Task, profile: NetworkProfile) -> dict[str, str]:
    settings = task.model_dump(mode="json", exclude={"name": True, "data": True, "backbone": True})
    return {
        "the task's settings": fingerprint(settings),
        "its data": task.content.digest,
        "its backbone": task.backbone_hash,
        "the network": fingerprint(profile.settings()),
    }
