"""Run file of an app (``run.json``): the task, the method, the settings and the rounds of a run.

Server and nodes read the same file. Its marks are fingerprints of the settings, the data and the
backbone: a machine whose files differ says so before it trains.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from floss_sim import documents
from floss_sim.documents import OneFullLine, Section
from floss_sim.errors import ConfigError
from floss_sim.fingerprints import fingerprint
from floss_sim.methods import Method
from floss_sim.methods.differential_privacy import SOURCES
from floss_sim.methods.from_settings import method_from_settings
from floss_sim.runs.config import RunConfig
from floss_sim.tasks import hub, load_task, packaged_tasks
from floss_sim.toml_json import read_json

RUN_FILE, TASK_FILE = "run.json", "task.toml"
_VERSION: Literal[1] = 1
_Count = Annotated[int, Field(ge=1)]


class RunFile(Section):
    """Content of a run file.

    Attributes:
        run_version: Version of this file.
        task: Name of a packaged task, or ``task.toml`` for the copy beside the run file.
        dataset: Data set that replaces the task's; None: the task's own.
        backbone: Backbone that replaces the task's; None: the task's own.
        changes: Keys of the task to change, and their values.
        method: Name of the method.
        method_settings: Its settings.
        rank: LoRA rank.
        seed: Seed of the run.
        rounds: Rounds to train.
        eval_every: Rounds between evaluations.
        classes: Class names in the order of the class numbers; empty where labels are numbers.
        marks: Fingerprints of the settings, the data and the backbone.
    """

    run_version: Literal[1] = _VERSION
    task: OneFullLine
    dataset: OneFullLine | None = None
    backbone: OneFullLine | None = None
    changes: dict[str, Any] = Field(default_factory=dict)
    method: OneFullLine
    method_settings: dict[str, Any]
    rank: _Count
    seed: Annotated[int, Field(ge=0)]
    rounds: _Count
    eval_every: _Count
    classes: tuple[str, ...] = ()
    marks: dict[str, OneFullLine] = Field(default_factory=dict)

    @classmethod
    def of(
        cls,
        config: RunConfig,
        *,
        task: str,
        rounds: int,
        eval_every: int = 10,
        dataset: str | None = None,
        backbone: str | None = None,
    ) -> RunFile:
        """Return the run file of a configuration.

        Args:
            config: The configuration.
            task: Packaged name or path by which its task was loaded.
            rounds: Rounds to train.
            eval_every: Rounds between evaluations.
            dataset: Argument of ``load_task``, or None.
            backbone: Argument of ``load_task``, or None.

        Raises:
            ConfigError: The app cannot hold the method.
        """
        method = config.method
        check_method(method)
        loaded = config.task
        if task not in packaged_tasks():
            dataset = dataset or _local_path(loaded.data.dataset, Path(task).parent)
            backbone = backbone or _local_path(loaded.backbone.model, Path(task).parent)
        sections = {
            "partition": config.fleet, "client": config.client, "server": config.server,
            "lora": loaded.lora, "preprocess": loaded.preprocess, "data": loaded.data,
        }  # fmt: skip
        stated = {
            f"{section}.{key}": value
            for section, values in sections.items()
            for key, value in values.model_dump(mode="json", exclude_none=True).items()
            if key != "dataset"
        }
        return cls(
            task=task if task in packaged_tasks() else TASK_FILE,
            dataset=dataset and hub.absolute_reference(dataset),
            backbone=backbone and hub.absolute_reference(backbone),
            changes=stated,
            method=config.method.name,
            method_settings=config.method.settings(),
            rank=config.rank,
            seed=config.seed,
            rounds=rounds,
            eval_every=eval_every,
            classes=loaded.content.names,
            marks=_marks(config),
        )

    def text(self) -> str:
        """Return the file's text."""
        return json.dumps(self.model_dump(mode="json"), indent=1) + "\n"


@dataclass(frozen=True)
class DeployedRun:
    """A run as an app trains it.

    Attributes:
        config: The configuration.
        rounds: Rounds to train.
        eval_every: Rounds between evaluations.
        classes: Class names in the order of the class numbers; empty where labels are numbers.
    """

    config: RunConfig
    rounds: int
    eval_every: int
    classes: tuple[str, ...] = ()

    def with_rounds(self, rounds: int) -> DeployedRun:
        """Return the run with another number of rounds; 0 keeps it."""
        return replace(self, rounds=rounds or self.rounds)

    def with_noise(self, source: str) -> DeployedRun:
        """Return the run with noise of differential privacy, if it has any, from another source.

        Args:
            source: ``"system"`` or ``"seed"``, see :class:`DifferentialPrivacy`.

        Raises:
            ConfigError: The source is unknown.
        """
        if source not in SOURCES:
            raise ConfigError(f"unknown noise {source!r}; valid: {', '.join(SOURCES)}")
        method = self.config.method
        if method.privacy is None:
            return self
        method = replace(method, privacy=replace(method.privacy, source=source))
        return replace(self, config=replace(self.config, method=method))


def read_run_file(
    path: Path, *, dataset: str = "", backbone: str = "", reads_data: bool = True
) -> DeployedRun:
    """Return the run of a run file.

    Args:
        path: The file; a copied task is beside it.
        dataset: Local data that replace those of the file; empty: none. Data of another machine
            are not compared with the mark.
        backbone: Local folder that replaces the file's backbone; empty: none.
        reads_data: Whether the task's data are here; a node with data of its own lacks them.

    Raises:
        ConfigError: The file is damaged, or the task, the data or the backbone is missing or
            another one than the exported run's.
    """
    content = read_json(path, ConfigError)
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: no JSON object")
    file = documents.validate(content, RunFile, ConfigError, str(path))
    task = load_task(
        str(path.with_name(TASK_FILE)) if file.task == TASK_FILE else file.task,
        dataset=dataset or file.dataset,
        backbone=backbone or file.backbone,
        changes=file.changes,
    )
    method = method_from_settings(file.method, file.method_settings)
    check_method(method)
    config = RunConfig.of(task, method, rank=file.rank, seed=file.seed)
    found = _marks(config, reads_data and not dataset)
    changed = sorted(key for key, mark in found.items() if mark != file.marks.get(key))
    if changed:
        raise ConfigError(
            f"{path}: other {' and '.join(changed)} than in the exported run; export it again, or "
            "use the files that it was exported with"
        )
    return DeployedRun(config, file.rounds, file.eval_every, file.classes)


def check_method(method: Method) -> None:
    """Raise ConfigError if nodes of an app cannot hold a method."""
    reason = ""
    if method.mask_ledger:
        reason = "a ledger of masks, each of which nodes would have to keep; valid: without it"
    elif method.persistent and method.persistent.pick.shared:
        reason = "a random mask, whose history the server alone has; valid: pick 'largest'"
    if reason:
        raise ConfigError(f"an app cannot hold method {method.name!r} with {reason}")


def _local_path(reference: str, folder: Path) -> str | None:
    """Return the absolute path of a local reference; None for a hub id and packaged data."""
    path = hub.locate(reference, folder)
    return None if path is None else str(path.absolute())


def _marks(config: RunConfig, reads_data: bool = True) -> dict[str, str]:
    data = {"data": config.task.content.digest} if reads_data else {}
    backbone, settings = config.task.backbone_hash, fingerprint(config.settings())
    return {"settings": settings, "backbone": backbone, **data}
