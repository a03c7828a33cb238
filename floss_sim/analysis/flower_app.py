"""Flower apps: what an app's files say about its messages; nothing of it is run.

The keys are those of Flower's template for language models (FlowerTune), below
``tool.flwr.app.config``; ``_`` and ``-`` are alike:

===================================  =========================================
key                                  meaning
===================================  =========================================
model.name                           hub id of the backbone, or its path in the app
model.lora.peft-lora-r               LoRA rank
model.lora.peft-lora-alpha           LoRA alpha
model.lora.*target-modules           list, or names parted by commas
model.lora.*use-dora                 whether adapters are DoRA
num-server-rounds                    rounds
strategy.fraction-train, -fit        share of the clients in a round
model.quantization                   bits of a weight: 4 or 8
model.gradient-checkpointing         whether the client uses it
train.seq-length                     tokens of an example
train...per-device-train-batch-size  examples of a local batch
train...max-steps                    local steps of a round, times
train...gradient-accumulation-steps  batches of a step
===================================  =========================================

Constants in the app's Python files replace them (:mod:`floss_sim.analysis.flower_source`).

The number of clients is ``options.num-supernodes`` of the default federation. FedAvg asks at least
two clients a round.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from floss_sim.analysis.flower_source import lora_arguments
from floss_sim.errors import ConfigError
from floss_sim.toml_json import read_toml

_LEAST_COHORT = 2  # min_fit_clients and min_train_nodes of Flower's FedAvg


@dataclass(frozen=True)
class FlowerApp:
    """Settings of a Flower app that decide its traffic; None where the app does not say.

    Attributes:
        name: Name of the app.
        model: Hub id or path of the backbone.
        rank: LoRA rank.
        alpha: LoRA alpha.
        targets: LoRA targets.
        dora: Whether adapters are DoRA.
        rounds: Rounds.
        clients: Clients of the fleet.
        fraction: Share of the clients in a round.
        tokens: Tokens of an example.
        batch: Examples of a local batch.
        steps: Local batches of a client in a round.
        bits: Bits of a weight; None: bfloat16.
        checkpointing: Whether the client uses gradient checkpointing.
        code: Options of ``floss-sim estimate`` that the app's Python files state.
        unread: Arguments of LoraConfig in those files that decide what trains and are not known.
    """

    name: str
    model: str | None = None
    rank: int | None = None
    alpha: float | None = None
    targets: tuple[str, ...] | None = None
    dora: bool = False
    rounds: int | None = None
    clients: int | None = None
    fraction: float | None = None
    tokens: int | None = None
    batch: int | None = None
    steps: int | None = None
    bits: int | None = None
    checkpointing: bool = False
    code: Mapping[str, Any] = field(default_factory=dict)
    unread: tuple[str, ...] = ()

    def cohort(self, clients: int) -> int:
        """Return the clients of a round in a fleet: the fraction, rounded down, at least two."""
        share = 1.0 if self.fraction is None else self.fraction
        return min(clients, max(_LEAST_COHORT, int(clients * share)))

    def settings(self) -> dict[str, Any]:
        """Return the settings that the app states, by the options of ``floss-sim estimate``."""
        found = {
            "backbone": self.model,
            "rank": self.rank,
            "alpha": self.alpha,
            "targets": ",".join(self.targets) if self.targets else None,
            "dora": self.dora,
            "rounds": self.rounds,
            "clients": self.clients,
            "tokens": self.tokens,
            "batch": self.batch,
            "precision": f"int{self.bits}" if self.bits else "bf16",
            "checkpointing": self.checkpointing,
            "examples": self.steps * self.batch if self.steps and self.batch else None,
        }
        stated = {name: value for name, value in found.items() if value is not None}
        return {**stated, **self.code}


def read_flower_app(folder: Path) -> FlowerApp:
    """Return the settings of a Flower app, from its ``pyproject.toml`` and constants in its code.

    Args:
        folder: Folder of the app, or its ``pyproject.toml``.

    Raises:
        ConfigError: The file cannot be read, is not of a Flower app, or holds a value of a wrong
            type.
    """
    path = folder / "pyproject.toml" if folder.is_dir() else folder
    if path.exists() and not path.is_file():
        raise ConfigError(f"{path} is not a regular file")
    content = read_toml(path, ConfigError)
    flower = _table(content, "tool", "flwr")
    config = _table(flower, "app", "config")
    if not config:
        raise ConfigError(f"{path}: no [tool.flwr.app.config], so this is no Flower app")
    keys = dict(_flatten(config))

    def read(name: str, kind: type, least: float = 1) -> Any:
        """Return the value of the key that ends in a name; None if there is none."""
        found = {key: value for key, value in keys.items() if f".{key}".endswith(name)}
        if not found:
            return None
        key, value = min(found.items(), key=lambda one: (one[0].count("."), one[0]))
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        in_range = is_number and least <= value < math.inf
        fits = in_range if kind in (int, float) else isinstance(value, kind)
        if not fits or (kind is int and value != int(value)):
            what = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
            raise ConfigError(f"{path}: {key} is {value!r}, not {what[kind]} that is possible here")
        return kind(value)

    lora = lora_arguments(path.parent)
    return FlowerApp(
        name=str(_table(content, "project").get("name", path.parent.name)),
        model=_model(read(".model.name", str), path),
        rank=read("lora-r", int),
        alpha=read("lora-alpha", float, 0),
        targets=_targets(keys, path),
        dora=bool(read("use-dora", bool)),
        rounds=read("num-server-rounds", int),
        clients=_clients(flower, path),
        fraction=_fraction(read, path),
        tokens=read(".seq-length", int),
        batch=read(".per-device-train-batch-size", int),
        steps=_local_steps(read),
        bits=_bits(read, path),
        checkpointing=bool(read(".gradient-checkpointing", bool)),
        code=lora.stated,
        unread=lora.unread,
    )


def _model(name: str | None, path: Path) -> str | None:
    """Return a hub id, or the path of a backbone; a relative one starts at the app's folder."""
    if name is None:
        return None
    if not name.strip():
        raise ConfigError(f"{path}: model.name is empty; valid: a hub id or a path")
    local = path.parent / name
    is_local = name.startswith(("./", "../")) or os.path.exists(local)  # noqa: PTH110 (long names)
    return str(local) if is_local else name


def _fraction(read: Callable[..., Any], path: Path) -> float | None:
    """Return the share of the clients in a round; newer apps call it ``fraction-train``."""
    train, fit = (read(f".fraction-{name}", float, 0) for name in ("train", "fit"))
    share: float | None = fit if train is None else train
    if share is not None and share > 1:
        raise ConfigError(f"{path}: a fraction of {share:g} of the clients; valid: 0 to 1")
    return share


def _bits(read: Callable[..., Any], path: Path) -> int | None:
    bits: int | None = read(".quantization", int, 0)
    if bits and bits not in (4, 8):
        raise ConfigError(f"{path}: model.quantization is {bits}; valid: 4 or 8 bits")
    return bits or None


def _local_steps(read: Callable[..., Any]) -> int | None:
    """Return the batches of a client in a round; None where epochs decide (``max-steps = -1``)."""
    steps = read(".max-steps", int, -1)
    if steps is None or steps < 1:
        return None
    return int(steps * (read(".gradient-accumulation-steps", int) or 1))


def _table(content: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """Return a table inside tables; an empty one where it or its parent is missing."""
    for name in names:
        found = content.get(name)
        content = found if isinstance(found, Mapping) else {}
    return content


def _flatten(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted keys, with hyphens for underscores, and their values."""
    for key, value in table.items():
        name = f"{before}{key.replace('_', '-')}"
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{name}.")
        else:
            yield name, value


def _targets(keys: Mapping[str, Any], path: Path) -> tuple[str, ...] | None:
    found = [value for key, value in keys.items() if key.endswith("target-modules")]
    if not found:
        return None
    value = found[0]
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise ConfigError(f"{path}: target-modules is {value!r}, not a list of names")
    return tuple(part.strip() for part in parts if part.strip())


def _clients(flower: Mapping[str, Any], path: Path) -> int | None:
    """Return the clients of the default federation, or of the only one."""
    federations = _table(flower, "federations")
    named = [name for name, value in federations.items() if isinstance(value, Mapping)]
    default = federations.get("default", named[0] if len(named) == 1 else None)
    options = dict(_flatten(_table(federations, str(default))))
    value = options.get("options.num-supernodes")
    if value is not None and (type(value) is not int or value < 1):
        raise ConfigError(f"{path}: options.num-supernodes is {value!r}, not a number of clients")
    return value
