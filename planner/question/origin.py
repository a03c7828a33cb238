"""Origin of a plan's task and network: how they were loaded, and fingerprints to detect changes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from floss_sim.documents import Section
from floss_sim.errors import ConfigError, PlanError
from floss_sim.fingerprints import fingerprint
from floss_sim.network import NetworkProfile, load_profile
from floss_sim.network.named_changes import with_scales
from floss_sim.tasks import Task, load_task
from floss_sim.tasks.hub import absolute_reference
from planner.question.field_types import OneLine, Positive

# Keys of task files that the marks of earlier plans lack; marks lack them where they have defaults.
_LATER_KEYS = {
    "client": {"frozen_prefix", "frozen_dropout"},
    "lora": {"dora", "rslora", "depth", "layers"},
}
_LATER_ORIGINS = ("scale_down", "scale_up", "framework", "prior")  # keys that earlier plans lack
_PATHS = ("task", "network", "dataset", "backbone", "prior")


class Origin(Section):
    """The arguments that loaded a task and a network, so that a plan can be applied later.

    Local paths are absolute; in the file of a plan they are relative to its folder, and begin with
    ``./`` or ``../``. ``marks`` are fingerprints of the task's settings, its data, its
    backbone and the network. ``prior`` is the file of a search's prior over tasks, if not the
    packaged one.
    """

    task: OneLine
    dataset: OneLine | None = None
    backbone: OneLine | None = None
    changes: dict[str, Any] = Field(default_factory=dict)
    network: OneLine
    upload_ratio: Positive | None = None
    scale_down: Positive | None = None
    scale_up: Positive | None = None
    framework: OneLine | None = None
    prior: OneLine | None = None
    marks: dict[str, OneLine] = Field(default_factory=dict)

    @model_serializer(mode="wrap")
    def _plain(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Return the origin as plain values, without later keys that are not set."""
        made: dict[str, Any] = handler(self)
        return {key: v for key, v in made.items() if v is not None or key not in _LATER_ORIGINS}

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
        scales: tuple[float | None, float | None] = (None, None),
        framework: str | None = None,
        prior: Path | None = None,
    ) -> Origin:
        """Return the origin of a task and a network that were loaded by these arguments.

        Args:
            task: The loaded task.
            profile: The loaded network.
            names: The task's and the network's names as the user gave them: packaged names, or
                paths of ``.toml`` files.
            dataset: The ``dataset`` argument of ``load_task``, or None.
            backbone: The ``backbone`` argument of ``load_task``, or None.
            changes: The ``changes`` argument of ``load_task``, or None.
            upload_ratio: The upload ratio that the network's up rates were changed to, or None.
            scales: Factors by which down rates and up rates were then multiplied, or None.
            framework: The deployment framework whose messages the network then got, or None.
            prior: The file of the search's prior over tasks; None for the packaged one or none.
        """
        changed = dict(changes or {})
        dataset = dataset or _taken_path(changed, "data.dataset")
        backbone = backbone or _taken_path(changed, "backbone.model")
        return cls(
            task=_lasting_name(names[0]),
            dataset=dataset and absolute_reference(dataset),
            backbone=backbone and absolute_reference(backbone),
            changes=changed,
            network=_lasting_name(names[1]),
            upload_ratio=upload_ratio,
            scale_down=scales[0],
            scale_up=scales[1],
            framework=framework,
            prior=str(prior.expanduser().absolute()) if prior else None,
            marks=_marks(task, profile),
        )

    @classmethod
    def if_reloadable(
        cls,
        task: Task,
        profile: NetworkProfile,
        names: tuple[str, str],
        *,
        changes: Mapping[str, Any] | None = None,
        upload_ratio: float | None = None,
        just_loaded: bool = False,
    ) -> Origin | None:
        """Return the origin of a task and a network if loading these names gives the same ones.

        Args:
            task: The task.
            profile: The network, its rates changed to ``upload_ratio``.
            names: The name or path of the task, and that of the network.
            changes: Keys of the task that were set.
            upload_ratio: Down rate over up rate that every link gets; None keeps the links.
            just_loaded: Whether both were loaded by these names, so that nothing is loaded again.
        """
        try:
            origin = cls.of(task, profile, names=names, changes=changes, upload_ratio=upload_ratio)
            if not just_loaded:
                origin.reload(fetch=False)
        except (ConfigError, ValidationError):  # changed in Python, or loaded by another name
            return None
        return origin

    def relative_to(self, folder: Path) -> Origin:
        """Return the origin with its local paths relative to a folder."""
        real = folder.resolve()

        def relative(path: str) -> str:
            found = os.path.relpath(path, real)
            return found if found.startswith("..") else f"./{found}"

        return self._with_paths(relative, lambda text: Path(text).is_absolute())

    def absolute_from(self, folder: Path) -> Origin:
        """Return the origin with its local paths, which are relative to a folder, made absolute."""
        real = folder.resolve()

        def absolute(path: str) -> str:
            return os.path.normpath(real / path)

        return self._with_paths(absolute, lambda text: text.startswith(("./", "../")))

    def with_changes(self, task: Task, changes: Mapping[str, Any]) -> Origin:
        """Return the origin with keys of the task set besides.

        Args:
            task: The task as it is with these keys.
            changes: The keys, such as ``{"server.learning_rate": 0.01}``.
        """
        marks = self.marks | _task_marks(task)
        changed = self.changes | dict(changes)
        return self.model_copy(update={"changes": changed, "marks": marks})

    def _with_paths(self, change: Callable[[str], str], is_path: Callable[[str], bool]) -> Origin:
        """Return the origin with those of its references changed that are local paths."""
        given = {key: getattr(self, key) for key in _PATHS}
        found = {key: change(text) for key, text in given.items() if text and is_path(text)}
        return self.model_copy(update=found)

    def reload(self, *, fetch: bool) -> tuple[Task, NetworkProfile]:
        """Return the task and the network, loaded again.

        Args:
            fetch: Whether files missing from the local hub cache may be downloaded.

        Raises:
            ConfigError: The task or the network cannot be loaded.
            PlanError: A fingerprint differs; the message names the changed parts.
        """
        task = load_task(
            self.task, dataset=self.dataset, backbone=self.backbone, fetch=fetch,
            changes=self.changes,
        )  # fmt: skip
        profile = load_profile(self.network)
        if self.upload_ratio is not None:
            profile = profile.with_upload_ratio(self.upload_ratio)
        profile = with_scales(profile, self.scale_down, self.scale_up)
        if self.framework:
            profile = profile.with_framework(self.framework)
        found = _marks(task, profile)
        changed = sorted(what for what in found if found[what] != self.marks.get(what))
        if changed:
            raise PlanError(
                f"{', '.join(changed)} changed since the plan was made (task {self.task}, "
                f"network {self.network}); plan again"
            )
        return task, profile


def _taken_path(changes: dict[str, Any], key: str) -> str | None:
    """Remove the absolute path that a key was set to from the changes, and return it, if any."""
    value = changes.get(key)
    absolute = isinstance(value, str) and Path(value).is_absolute()
    return str(changes.pop(key)) if absolute else None


def _lasting_name(name: str) -> str:
    """Return a packaged name unchanged, and the path of a ``.toml`` file made absolute."""
    return str(Path(name).absolute()) if name.endswith(".toml") else name


def _marks(task: Task, profile: NetworkProfile) -> dict[str, str]:
    return _task_marks(task) | {"the network": fingerprint(profile.settings())}


def _task_marks(task: Task) -> dict[str, str]:
    settings = task.model_dump(mode="json", exclude={"name": True, "data": True, "backbone": True})
    stated = task.model_dump(exclude_defaults=True)
    for section, keys in _LATER_KEYS.items():
        for key in keys - stated[section].keys():
            del settings[section][key]
    return {
        "the task's settings": fingerprint(settings),
        "its data": task.content.digest,
        "its backbone": task.backbone_hash,
    }
