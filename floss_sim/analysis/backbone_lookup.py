"""Lookup of a backbone by name: packaged, a local config, or the config of a hub id."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from floss_sim.errors import LayoutError, TaskError
from floss_sim.families import IMAGES, KINDS, NEXT_TOKEN, TEXTS
from floss_sim.families.backbone import TaskModel
from floss_sim.families.packaged import find_packaged, packaged_backbones
from floss_sim.json_object import read_json_object


def backbone_model(
    name: str, kind: str | None = None, labels: int = 2, *, fetch: bool = False
) -> TaskModel:
    """Return a backbone with the head of a task.

    Args:
        name: Name or hub id of a packaged backbone, a model folder, a ``config.json``, or another
            hub id.
        kind: The task kind; by default the usual one of a packaged backbone, else
            ``next-token``.
        labels: Number of classes; not used by next-token prediction.
        fetch: Whether the config of a hub id may be downloaded.

    Raises:
        LayoutError: The kind is unknown, or the packaged backbone does not support it.
        TaskError: The config cannot be found or read.

    Example:
        >>> from floss_sim import backbone_model
        >>> backbone_model("gpt2").kind
        'next-token'
    """
    if kind is not None and kind not in KINDS:
        raise LayoutError(f"unknown kind {kind!r}; valid: {', '.join(KINDS)}")
    known = None if Path(name).exists() else find_packaged(name)
    if known:
        chosen = kind or known.kinds[0]
        if chosen not in known.tables:
            raise LayoutError(
                f"backbone {known.name} does not support {chosen}; valid: {', '.join(known.kinds)}"
            )
        return TaskModel(
            known.name, known.config, chosen, _classes(chosen, labels), known.tables[chosen]
        )
    path = _config_path(name, fetch)
    config = read_json_object(path, f"backbone {name!r}: cannot read")
    chosen = kind or _usual_kind(config)
    return TaskModel(name, config, chosen, _classes(chosen, labels))


def _config_path(name: str, fetch: bool) -> Path:
    """Return the path of the ``config.json`` of a backbone that is not packaged."""
    path = Path(name).expanduser()
    if path.exists():
        return path / "config.json" if path.is_dir() else path
    from floss_sim.tasks.hub import config_file

    try:
        return config_file(name, Path.cwd(), fetch=fetch)
    except TaskError:
        if fetch:
            raise
        raise TaskError(
            f"backbone {name!r} is not packaged (--backbones lists those that are), no local path, "
            "and not in the hub's local cache; give a folder or a config.json, or add --fetch"
            f"{_suggestion(name)}"
        ) from None


def _suggestion(name: str) -> str:
    """Return a packaged backbone of nearly this name, as the end of a sentence."""
    last = name.lower().rpartition("/")[2]
    near = [one for one in packaged_backbones() if last.startswith(one)]
    return f"; of the same sizes may be {max(near, key=len)!r}, which is packaged" if near else ""


def _classes(kind: str, labels: int) -> int:
    return 0 if kind == NEXT_TOKEN else labels


def _usual_kind(config: Mapping[str, Any]) -> str:
    """Return the task kind that a config's own architectures name, else next-token."""
    stated = config.get("architectures")
    named = " ".join(map(str, stated)) if isinstance(stated, list) else ""
    if "SequenceClassification" in named or "MaskedLM" in named:
        return TEXTS
    has_vision = "patch_size" in config or "vision_config" in config
    generates = "CausalLM" in named or "ConditionalGeneration" in named
    return IMAGES if (has_vision and not generates) or "ImageClass" in named else NEXT_TOKEN
