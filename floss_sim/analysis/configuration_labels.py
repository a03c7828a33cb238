"""Labels of configurations: the method, and the settings in which configurations differ."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from floss_sim.vectors.density import format_density

_SHORT_NAMES = {
    "rank": "r",
    "down_density": "down",
    "up_density": "up",
    "learning_rate": "lr",
    # Values that need no name, such as "iid", "per-tensor", "int8" and "fedavg".
    "law": "",
    "optimizer": "",
    "scope": "",
    "values": "",
    "pick": "",
    "which": "",
    "name": "",  # name of a round policy
    "network": "on",
    "device": "",
}
# Keys whose values follow from other settings or from the method's name.
_DERIVED_KEYS = {
    "layout",
    *(f"method.{name}" for name in ("mask", "private", "ranking", "trains")),
    *(f"method.up_{name}" for name in ("by", "kinds", "mask", "private_rank", "turns", "unit")),
    *(f"method.trained_{name}" for name in ("density", "turns")),
    "method.down_kinds",
    "method.down_private_rank",
}
_POLICY = "conditions.policy"  # prefix of keys; other conditions follow from the network's name
_DIGEST = re.compile(r"[0-9a-f]{16,}")


def labels(configurations: Sequence[tuple[str, Mapping[str, Any]]]) -> tuple[list[str], list[str]]:
    """Return one label for each configuration, all different, and the values that labels omit.

    A label names the method and the settings in which the configurations differ, such as
    ``"floss r16 down 1/4 up 1/16"``. A value that more than half of the configurations have is
    omitted, except rank and densities. Densities are omitted where all densities of a configuration
    are 1. Labels that are still equal are numbered.

    Args:
        configurations: Method name and settings (nested plain values) of each configuration.
    """
    flat = [_flatten(settings) for _, settings in configurations]
    keys = _differing_keys(flat)
    words = _words(keys)
    usual = _usual_values(flat, keys)
    made = []
    for (method, _), settings in zip(configurations, flat, strict=True):
        told = {key: value for key, value in settings.items() if usual.get(key) != value}
        made.append(" ".join([method, *_phrases(told, keys, words)]).strip())
    return _number_duplicates(made), _phrases(usual, keys, words)


def _usual_values(flat: Sequence[Mapping[str, Any]], keys: Iterable[str]) -> dict[str, Any]:
    """Return the values to omit: by key, the value of most configurations that have the key."""
    usual = {}
    for key in keys:
        values = [settings[key] for settings in flat if key in settings]
        most = [value for value in values if 2 * values.count(value) > len(values)]
        told = any(key not in settings and _tells(settings, key) for settings in flat)
        if most and not told and key != "rank" and not _is_density(key):
            usual[key] = most[0]
    return usual


def _tells(settings: Mapping[str, Any], key: str) -> bool:
    """Return whether settings without a key tell something by that, so that others must name it.

    They do for the method and the policy. Adapters and clients without a key have its default.
    """
    section = key.partition(".")[0]
    if section in ("lora", "client"):
        return any(other.startswith(f"{section}.") for other in settings)
    return key.startswith(("method.", _POLICY))


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one mapping with keys such as ``client.learning_rate``."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        name = prefix + key
        flat |= _flatten(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return flat


def _differing_keys(flat: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys whose values differ: the rank first, then in the order of the settings."""
    keys = dict.fromkeys(key for settings in flat for key in settings if not _is_derived(key))
    differing = [key for key in keys if any(_get(s, key) != _get(flat[0], key) for s in flat)]
    named = {settings.get("network") for settings in flat}
    timed = {(settings.get("network"), settings.get("timing")) for settings in flat}
    if all(named) and len(named) == len(timed):  # each network name has exactly one timing
        differing = [key for key in differing if key != "timing"]
    return sorted(differing, key=lambda key: key != "rank")


def _is_derived(key: str) -> bool:
    return key in _DERIVED_KEYS or (key.startswith("conditions.") and not key.startswith(_POLICY))


def _get(settings: Mapping[str, Any], key: str) -> tuple[Any, ...]:
    return (settings[key],) if key in settings else ()  # a missing key is not a null


def _words(keys: Iterable[str]) -> dict[str, str]:
    """Return the word of each key in labels; equal last parts get their section's name in front."""
    last = {key: key.rpartition(".")[2] for key in keys}
    uses = Counter(last.values())
    words = {}
    for key, name in last.items():
        word = _SHORT_NAMES.get(name, name)
        section = key.split(".")[0] if uses[name] > 1 or name == "learning_rate" else ""
        words[key] = f"{section} {word}".strip().replace("_", " ")
    return words


def _phrases(
    settings: Mapping[str, Any], keys: Iterable[str], words: Mapping[str, str]
) -> list[str]:
    densities = [value for key, value in settings.items() if _is_density(key)]
    everything = all(density == 1 for density in densities)
    return [
        _phrase(words[key], key, settings[key])
        for key in keys
        if settings.get(key) is not None and not (everything and _is_density(key))
    ]


def _is_density(key: str) -> bool:
    return key.endswith(("density", "share", "_ranks"))


def _phrase(word: str, key: str, value: Any) -> str:
    if isinstance(value, bool):
        return word if value else f"no {word}"
    gap = "" if word in ("", "r") else " "
    return f"{word}{gap}{_text(key, value)}".strip()


def _text(key: str, value: Any) -> str:
    """Return the short text of a value: lists as ``q+v``, mappings in lists as ``1:1/4``."""
    if isinstance(value, Mapping):
        return ":".join(_text(n, item) for n, item in value.items() if n != "up_mask")
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "+".join(_text(key, item) for item in value)
    if isinstance(value, float):
        return format_density(value) if _is_density(key) and 0 < value <= 1 else f"{value:g}"
    text = str(value)
    return text[:8] if _DIGEST.fullmatch(text) else text


def _number_duplicates(made: list[str]) -> list[str]:
    uses, seen = Counter(made), Counter[str]()
    numbered = []
    for label in made:
        seen[label] += 1
        numbered.append(f"{label} #{seen[label]}" if uses[label] > 1 else label)
    # Repeated, because an original label may equal a numbered one.
    return made if len(uses) == len(made) else _number_duplicates(numbered)
