"""Packaged backbones: public sizes and model tables of well-known models, without weights.

Each file of ``backbones/`` holds a backbone's hub id, the sizes in its public config, and the
table of each task kind. ``experiments/backbones/make.py`` writes the tables; a test compares them
with the installed model library.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from floss_sim.families.family import Config
from floss_sim.families.model_table import ModelTable

_FOLDER = resources.files(__package__) / "backbones"


@dataclass(frozen=True)
class PackagedBackbone:
    """Public facts of a backbone.

    Attributes:
        name: Name by which commands refer to it.
        hub_id: Id on the model hub.
        same_sizes: Ids of other models of the same sizes, such as the one tuned to instructions.
        parameters: Published number of parameters of the backbone, without a new head.
        config: The sizes in its public ``config.json``.
        tables: Model table by task kind; the first kind is the usual one.
    """

    name: str
    hub_id: str
    same_sizes: tuple[str, ...]
    parameters: int
    config: Config
    tables: Mapping[str, ModelTable]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Task kinds of the backbone, the usual one first."""
        return tuple(self.tables)


@cache
def packaged_backbones() -> tuple[str, ...]:
    """Return the names of the packaged backbones, sorted."""
    names = (entry.name for entry in _FOLDER.iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in names if name.endswith(".json")))


def find_packaged(name: str) -> PackagedBackbone | None:
    """Return a packaged backbone by its name or by a hub id of its sizes; None if there is none."""
    known = name.lower()
    if known in packaged_backbones():
        return packaged_backbone(known)
    found = (one for one in packaged_backbones() if known in map(str.lower, _ids(_content(one))))
    return next(map(packaged_backbone, found), None)


def _ids(content: Mapping[str, Any]) -> list[str]:
    return [content["hub_id"], *content.get("same_sizes", ())]


@cache
def packaged_backbone(name: str) -> PackagedBackbone:
    """Return the packaged backbone of a name, one of :func:`packaged_backbones`."""
    content = _content(name)
    tables = {kind: ModelTable.from_json(table) for kind, table in content["tables"].items()}
    hub_id, *same_sizes = _ids(content)
    return PackagedBackbone(
        name, hub_id, tuple(same_sizes), content["parameters"], content["config"], tables
    )


def _content(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return content
