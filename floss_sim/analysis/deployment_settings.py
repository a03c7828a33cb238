"""Deployments from plain settings, as a command line or a sweep gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from floss_sim.analysis.backbone_lookup import backbone_model
from floss_sim.analysis.deployment import Deployment
from floss_sim.errors import ConfigError
from floss_sim.families.adapter_settings import AdapterSettings
from floss_sim.families.backbone import TaskModel
from floss_sim.families.module_roles import role_of
from floss_sim.methods.method_options import METHOD_OPTIONS, method_of_options, read_flag
from floss_sim.methods.privacy_options import PRIVACY_OPTIONS, with_privacy
from floss_sim.network import load_profile
from floss_sim.network.named_changes import with_scales

_NUMBERS = {
    "labels": int, "rank": int, "alpha": float, "depth": int, "clients": int,
    "cohort": int, "rounds": int, "examples": int, "batch": int, "tokens": int, "seed": int,
    "upload_ratio": float, "scale_down": float, "scale_up": float,
}  # fmt: skip
_OPTIONS = {**METHOD_OPTIONS, **PRIVACY_OPTIONS}
_FLEET = ("clients", "cohort", "rounds", "examples", "batch", "tokens", "precision",
          "checkpointing", "seed")  # fmt: skip


def deployment_of(settings: Mapping[str, Any]) -> Deployment:
    """Return the deployment of plain settings: texts, numbers or booleans by name of the option.

    Raises:
        ConfigError: An option is unknown or its value cannot be read, or as for
            :class:`Deployment`.
    """
    unknown = sorted(set(settings) - _names())
    if unknown:
        raise ConfigError(f"unknown option {unknown[0]!r}; valid: {', '.join(sorted(_names()))}")
    given = {name: read_setting(name, value) for name, value in settings.items()}
    model = backbone_model(
        given.get("backbone", "smollm2-135m"), given.get("kind"), given.get("labels", 2),
        fetch=given.get("fetch", False),
    )  # fmt: skip
    profile = load_profile(given.get("network", "mobile-mixed"))
    if "upload_ratio" in given:
        profile = profile.with_upload_ratio(given["upload_ratio"])
    profile = with_scales(profile, given.get("scale_down"), given.get("scale_up"))
    if given.get("framework"):
        profile = profile.with_framework(given["framework"])
    options, privacy = (
        {name: value for name, value in given.items() if name in table}
        for table in (METHOD_OPTIONS, PRIVACY_OPTIONS)
    )
    made = Deployment(
        model,
        _adapters(model, given),
        with_privacy(method_of_options(given.get("method", "floss"), options), privacy),
        profile,
        **{name: given[name] for name in _FLEET if name in given},
    )
    epsilon = given.get("dp_epsilon")
    return made if epsilon is None else made.with_epsilon(epsilon)


def _names() -> set[str]:
    adapter = {field.name for field in fields(AdapterSettings)} - {"modules_to_save"}
    own = {"backbone", "fetch", "kind", "network", "method", "save", "precision", "checkpointing",
           "framework"}  # fmt: skip
    return own | adapter | set(_NUMBERS) | set(_OPTIONS)


def read_setting(name: str, value: Any) -> Any:
    """Return the value of an option, read from a text where it is one.

    Raises:
        ConfigError: The text cannot be read.
    """
    if name in _OPTIONS:
        return _OPTIONS[name].read(value)
    if not isinstance(value, str):
        return value
    if name in ("rank_pattern", "alpha_pattern"):
        return _pattern(name, value)
    if name in ("dora", "rslora", "lora_bias", "fetch", "checkpointing"):
        return read_flag(name, value)
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
