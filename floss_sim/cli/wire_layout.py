"""Search for the layout of a message: by digest, among the layouts of a task and rank.

Task and rank are given by options, or come from the run folder that contains the message.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from floss_sim.errors import ConfigError, LayoutError, RecordError
from floss_sim.records import RunFolder
from floss_sim.runs.config import adapter_settings
from floss_sim.tasks import load_task
from floss_sim.vectors.adapter_layout import layout_of
from floss_sim.vectors.layout import LAYOUTS, Layout, seed_layout

_HEADS, _SEEDS = 4, 4096  # that are tried without a run folder
_RANK = 16  # LoRA rank that is tried if neither an option nor a run folder gives one


def layout_of_message(
    digest: bytes, folder: Path, task: str | None, rank: int | None
) -> tuple[Layout | None, str]:
    """Return the layout of a message and an empty text, or None and the condition for decoding.

    Args:
        digest: Digest of the layout, as stored in the message.
        folder: Folder of the message; if it is a run folder, its run gives task and rank.
        task: Name of a task that replaces the run's task, or None.
        rank: LoRA rank that replaces the run's rank, or None; 16 without a run folder.

    Raises:
        ConfigError: A task or rank was given, and none of its layouts has the digest.
    """
    run = _trajectory(folder)
    name, ranks = task or run.get("task"), rank or run.get("rank") or _RANK
    if name is None:
        if rank is not None:
            raise ConfigError("--rank requires --task")
        return None, "with --task and --rank, which give its layout"
    try:
        method = run.get("method") or {}
        heads = int(method.get("heads", _HEADS))
        seeds = int((method.get("zeroth_order") or {}).get("seeds", _SEEDS))
        return _search(digest, str(name), int(ranks), run.get("lora") or {}, heads, seeds), ""
    except ConfigError as error:
        if task or rank:
            raise ConfigError(f"{error}{_rank_hint(run, rank)}") from None
        return None, f"with --task and --rank, which give its layout: {error}"


def _rank_hint(run: Mapping[str, Any], rank: int | None) -> str:
    """Return a hint with the rank of the run if a different rank was given, else nothing."""
    own = run.get("rank")
    return f"; the run's rank is {own}" if own and rank and rank != own else ""


def _trajectory(folder: Path) -> Mapping[str, Any]:
    """Return the trajectory of a run folder, or an empty mapping for any other folder."""
    if not (folder / "run.json").exists():
        return {}
    with suppress(RecordError):
        trajectory: Mapping[str, Any] = RunFolder.read(folder).description["trajectory"]
        return trajectory
    return {}


def _search(
    digest: bytes, task_name: str, rank: int, lora: Mapping[str, Any], heads: int, seeds: int
) -> Layout:
    task = load_task(task_name, changes={f"lora.{key}": value for key, value in lora.items()})
    seeded = seed_layout(seeds)
    if seeded.digest == digest:
        return seeded
    for trains in LAYOUTS:
        with suppress(LayoutError):  # some backbones lack some layouts
            layout = layout_of(
                task.backbone_config,
                task.kind,
                task.labels,
                trains=trains,
                settings=adapter_settings(task, rank),
                heads=heads,
            )
            if layout.digest == digest:
                return layout
    raise ConfigError(
        f"the message's layout {digest.hex()} is none of task {task.name!r} at rank {rank}"
    )
