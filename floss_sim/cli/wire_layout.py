"""The layout of a message: that of its run folder, or of a task and rank, by its digest."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from floss_sim.errors import ConfigError, LayoutError, RecordError
from floss_sim.records import RunFolder
from floss_sim.tasks import load_task
from floss_sim.vectors.layout import LAYOUTS, Layout, build_layout

_RANK = 16


def layout_of_message(
    digest: bytes, folder: Path, task: str | None, rank: int | None
) -> tuple[Layout | None, str]:
    """Return the layout of a message, or None and in words why it is not known.

    Args:
        digest: Of the layout, as the message names it.
        folder: The message's; a run folder names task and rank.
        task: Instead of the run's.
        rank: Instead of the run's, or of 16.

    Raises:
        ConfigError: A task or rank was given, and no layout of theirs has the digest.
    """
    run = _trajectory(folder)
    name, ranks = task or run.get("task"), rank or run.get("rank") or _RANK
    if name is None:
        if rank is not None:
            raise ConfigError("--rank goes with --task")
        return None, "with --task and --rank, which give its layout"
    try:
        return _search(digest, str(name), int(ranks), (run.get("lora") or {}).get("targets")), ""
    except ConfigError as error:
        if task or rank:
            raise ConfigError(f"{error}{_rank_hint(run, rank)}") from None
        return None, f"with --task and --rank, which give its layout: {error}"


def _rank_hint(run: Mapping[str, Any], rank: int | None) -> str:
    """Return what to say of a run's rank where another was asked for."""
    own = run.get("rank")
    return f"; the run's rank is {own}" if own and rank and rank != own else ""


def _trajectory(folder: Path) -> Mapping[str, Any]:
    """Return what was run in a folder; nothing where it is no run folder."""
    if not (folder / "run.json").exists():
        return {}
    with suppress(RecordError):
        trajectory: Mapping[str, Any] = RunFolder.read(folder).description["trajectory"]
        return trajectory
    return {}


def _search(digest: bytes, task_name: str, rank: int, targets: list[str] | None) -> Layout:
    task = load_task(task_name)
    backbone = task.backbone_config
    for trains in LAYOUTS:
        with suppress(LayoutError):  # not every backbone has every layout
            layout = build_layout(
                backbone,
                trains=trains,
                targets=targets or task.lora.targets,
                rank=rank,
                labels=task.labels,
            )
            if layout.digest == digest:
                return layout
    raise ConfigError(
        f"the message's layout {digest.hex()} is none of task {task.name!r} at rank {rank}"
    )
