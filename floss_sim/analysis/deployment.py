"""Deployments from plain settings, as a command line or a sweep gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from floss_sim.analysis.estimate import Deployment
from floss_sim.errors import ConfigError, LayoutError, TaskError
from floss_sim.families import IMAGES, KINDS, NEXT_TOKEN, TEXTS
from floss_sim.families.adapter_settings import AdapterSettings
from floss_sim.families.backbone import TaskModel
from floss_sim.families.module_roles import role_of
from floss_sim.families.packaged import find_packaged, packaged_backbones
from floss_sim.methods import method_from_name
from floss_sim.network import load_profile
from floss_sim.vectors.density import parse_density

_METHOD_TEXTS = ("tiers", "down_values", "up_values")
_DENSITIES = ("down_density", "up_density", "density")
_NUMBERS = {
    "labels": int, "rank": int, "alpha": float, "depth": int, "clients": int, "cohort": int,
    "rounds": int, "examples": int, "batch": int, "tokens": int, "upload_ratio": float, "seed": int,
}  # fmt: skip
_YES, _NO = ("true", "yes", "1"), ("false", "no", "0")
_FLEET = ("clients", "cohort", "rounds", "examples", "batch", "tokens", "precision", "seed")


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
    from floss_sim.tasks.json_object import read_json_object

    path = _config_path(name, fetch)
    config = read_json_object(path, f"backbone {name!r}: cannot read")
    chosen = kind or _usual_kind(config)
    return TaskModel(name, config, chosen, _classes(chosen, labels))


def _config_path(name: str, fetch: bool) -> Path:
    """Return the path of the ``config.json`` of a backbone that is not packaged."""
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


def deployment_of(settings: Mapping[str, Any]) -> Deployment:
    """Return the deployment of plain settings: texts, numbers or booleans by name of the option.

    Raises:
        ConfigError: An option is unknown or its value cannot be read, or as for
            :class:`Deployment`.
    """
    unknown = sorted(set(settings) - _names())
    if unknown:
        raise ConfigError(f"unknown option {unknown[0]!r}; valid: {', '.join(sorted(_names()))}")
    given = {name: _read(name, value) for name, value in settings.items()}
    model = backbone_model(
        given.get("backbone", "smollm2-135m"), given.get("kind"), given.get("labels", 2),
        fetch=given.get("fetch", False),
    )  # fmt: skip
    profile = load_profile(given.get("network", "mobile-mixed"))
    if "upload_ratio" in given:
        profile = profile.with_upload_ratio(given["upload_ratio"])
    options = {name: given[name] for name in (*_METHOD_TEXTS, *_DENSITIES) if name in given}
    return Deployment(
        model,
        _adapters(model, given),
        method_from_name(given.get("method", "floss"), **options),
        profile,
        **{name: given[name] for name in _FLEET if name in given},
    )


def _names() -> set[str]:
    adapter = {field.name for field in fields(AdapterSettings)} - {"modules_to_save"}
    own = {"backbone", "fetch", "kind", "network", "method", "save", "precision"}
    return own | adapter | set(_NUMBERS) | set(_METHOD_TEXTS) | set(_DENSITIES)


def _read(name: str, value: Any) -> Any:
    """Return the value of an option, read from a text where it is one."""
    if not isinstance(value, str):
        return value
    if name in _DENSITIES:
        return parse_density(value)
    if name in ("rank_pattern", "alpha_pattern"):
        return _pattern(name, value)
    if name in ("dora", "rslora", "lora_bias", "fetch"):
        if value.lower() not in (*_YES, *_NO):
            raise ConfigError(f"{name} {value!r} is neither yes nor no")
        return value.lower() in _YES
    if name in _NUMBERS:
        try:
            return _NUMBERS[name](value)
        except ValueError:
            raise ConfigError(f"{name.replace('_', '-')} {value!r} is not a number") from None
    return value


def _pattern(name: str, text: str) -> dict[str, Any]:
    """Return a pattern of ranks or alphas, from a text such as ``mlp.fc1=4,layers.1.*=8``."""
    number = int if name == "rank_pattern" else float
    try:
        pairs = (part.rsplit("=", 1) for part in text.split(",") if part.strip())
        return {key.strip(): number(value) for key, value in pairs}
    except ValueError:
        raise ConfigError(
            f"{name.replace('_', '-')} {text!r} is not NAME=NUMBER,..., such as mlp.fc1=4"
        ) from None


def _adapters(model: TaskModel, given: Mapping[str, Any]) -> AdapterSettings:
    targets = given.get("targets")
    plain = ("rank", "alpha", "rslora", "dora", "rank_pattern", "alpha_pattern", "depth", "bias",
             "lora_bias")  # fmt: skip
    try:
        layers = given.get("layers")
        numbers = None if layers is None else tuple(int(part) for part in layers.split(","))
    except ValueError:
        raise ConfigError(f"layers {given['layers']!r} are not numbers such as 0,1,5") from None
    return AdapterSettings(
        targets=_default_targets(model) if targets is None else _split(targets),
        layers=numbers,
        modules_to_save=_split(given.get("save", "")),
        **{name: given[name] for name in plain if name in given},
    )


def _split(text: str) -> tuple[str, ...]:
    if text.startswith("re:"):
        return (text,)
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _default_targets(model: TaskModel) -> tuple[str, ...]:
    """Return the roles q and v, or qkv where a model has the three in one matrix."""
    roles = {role_of(path) for path in model.full_table().modules}
    return ("q", "v") if {"q", "v"} <= roles else ("qkv",)
