"""Configuration of a recorded run, rebuilt from its description so that an app can train it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from floss_sim import documents
from floss_sim.deployment.export import check_export, export_app
from floss_sim.deployment.run_file import check_method
from floss_sim.documents import Section
from floss_sim.errors import ConfigError, RecordError
from floss_sim.methods.from_settings import method_from_settings
from floss_sim.records import RunFolder, RunRecord
from floss_sim.runs.config import RunConfig
from floss_sim.tasks import load_task
from floss_sim.tasks.sections import ClientSection, PartitionSection, ServerSection

_EVAL_EVERY = 10  # rounds between evaluations, where the record does not tell
# Sections of a task, by their names in a trajectory, which lacks the keys at their defaults.
_SECTIONS: Mapping[str, tuple[str, type[Section]]] = {
    "fleet": ("partition", PartitionSection),
    "client": ("client", ClientSection),
    "server": ("server", ServerSection),
}
_LORA_DEFAULTS = {"dropout": 0.0, "dora": False, "rslora": False}
_COMPARED = ("data", "backbone", "kind", "method", "rank", "seed", "fleet", "client", "server",
             "lora", "preprocess")  # fmt: skip


def recorded_config(
    description: Mapping[str, Any],
    *,
    task: str | None = None,
    dataset: str | None = None,
    backbone: str | None = None,
    changes: Mapping[str, Any] | None = None,
) -> RunConfig:
    """Return the configuration of a run's description.

    Args:
        description: Content of ``run.json``.
        task: Packaged name or path of the run's task; by default the recorded name.
        dataset: Argument of ``load_task``, or None.
        backbone: Argument of ``load_task``, or None.
        changes: Further keys of the task, which the record does not state, such as ``data.limit``.

    Raises:
        ConfigError: The task cannot be loaded, or is another one than the recorded run's; or
            simulated time shaped the run's training.
        RecordError: The description is damaged.
    """
    stated = description["trajectory"]
    if "conditions" in stated:
        raise ConfigError(
            "simulated time affected the training of this run (its policy or lost clients), which "
            "an app cannot repeat; valid: a run whose rounds waited for all their clients"
        )
    try:
        method = method_from_settings(str(description["method"]), stated["method"])
        lora = {**_LORA_DEFAULTS, **stated.get("lora", {})}
        rank, seed, name = stated.get("rank", 1), stated["seed"], task or str(stated["task"])
    except (KeyError, TypeError):
        raise RecordError("the description of the run (run.json) is damaged") from None
    check_method(method)
    made = {**(changes or {}), **_section_changes(stated)}
    made |= {f"lora.{key}": value for key, value in lora.items()} if "lora" in stated else {}
    loaded = load_task(name, dataset=dataset, backbone=backbone, changes=made)
    config = RunConfig.of(loaded, method, rank=rank, seed=seed)
    found = {
        **config.settings(), "data": loaded.content.digest, "backbone": loaded.backbone_hash
    }  # fmt: skip
    changed = [key for key in _COMPARED if found.get(key) != stated.get(key)]
    if changed:
        raise ConfigError(
            f"task {name} is not that of the run (different: {', '.join(changed)}); give the run's "
            "with --task, --dataset, --backbone and --set"
        )
    return config


def _section_changes(stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a task's sections as a trajectory has them, defaults included."""
    return {
        f"{section}.{key}": value
        for name, (section, model) in _SECTIONS.items()
        for key, value in documents.validate(stated[name], model, RecordError, name)
        .model_dump(mode="json")
        .items()
    }


def export_run(
    folder: str | Path,
    out: str | Path,
    *,
    task: str | None = None,
    rounds: int | None = None,
    eval_every: int | None = None,
    dataset: str | None = None,
    backbone: str | None = None,
    changes: Mapping[str, Any] | None = None,
    to: str = "flower",
) -> Path:
    """Write a recorded run as an app that trains it again; return the app's folder.

    Args:
        folder: The run folder.
        out: Folder to write; it does not exist yet, or is empty.
        task: Packaged name or path of the run's task; by default the recorded name.
        rounds: Rounds to train; by default those of the record.
        eval_every: Rounds between evaluations; by default those of the record.
        dataset: The ``dataset`` argument of ``load_task``, or None.
        backbone: The ``backbone`` argument of ``load_task``, or None.
        changes: Further keys of the task, which the record does not state.
        to: The framework.

    Raises:
        ConfigError: The app cannot hold the run, or the task is not the run's.
        RecordError: The record cannot be read, or the folder is not empty.
    """
    check_export(out, to)
    run = RunFolder.read(Path(folder).expanduser())
    config = recorded_config(
        run.description, task=task, dataset=dataset, backbone=backbone, changes=changes
    )
    record = run.record()
    return export_app(
        config,
        out,
        task=task or str(run.description["trajectory"]["task"]),
        rounds=rounds or record.rounds.num_rows or 1,
        eval_every=eval_every or _recorded_interval(record),
        dataset=dataset,
        backbone=backbone,
        to=to,
    )


def _recorded_interval(record: RunRecord) -> int:
    """Return the rounds between two evaluations of a record."""
    evaluated = record.evaluated()["round"].to_pylist()
    return int(evaluated[0]) if len(evaluated) > 1 else _EVAL_EVERY
