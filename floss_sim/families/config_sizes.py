"""Sizes that a ``config.json`` leaves out, so that the model library takes its own defaults.

The main sizes must be stated: a config without them is more likely damaged than standard. The
others are told to the user. A part of a config, such as ``text_config``, may leave out any size:
the library's own files hold only what differs from the defaults.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from typing import Any

from floss_sim.errors import LayoutError
from floss_sim.families.family import Config

_MAIN = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
         "vocab_size", "embed_dim", "depths", "hidden_sizes")  # fmt: skip
_MOST, _MOST_LAYERS = 2**31 - 1, 1000  # canonical names hold three digits of a layer
_SIZE = re.compile(
    r"(.*_)?(size|sizes|dim|dims|layers?|heads?|experts|channels|positions?|embeddings|depths?|"
    r"rank|stages|blocks)|d_\w+|n_embd|n_head|n_layer|mlp_ratio"
)
_NO_SIZE = re.compile(r".*(chunk|window|kernel|block|merge|crop)_.*")


def unstated_sizes(library_config: Any, config: Config) -> dict[str, Any]:
    """Return the sizes that a config does not state, with the defaults that the library takes.

    A part that is not stated at all counts as one size, with the value None.

    Args:
        library_config: The model library's config, made from ``config``.
        config: The content of ``config.json``.

    Raises:
        LayoutError: A main size is missing, such as ``hidden_size``, or all parts are; or a main
            size is out of range.
    """
    _check_values(library_config)
    own = _unstated(library_config, config)
    main = [name for name in _main_names(library_config) if name in own]
    if main:
        taken = ", ".join(str(own[name]) for name in main)
        raise LayoutError(
            f"the config of this {library_config.model_type} model lacks {', '.join(main)} (the "
            f"model library would take {taken}); give the model's own config.json"
        )
    parts = {name: getattr(library_config, name, None) for name in library_config.sub_configs}
    left = {
        name: _part_unstated(part, config, name)
        for name, part in parts.items()
        if part is not None and any(hasattr(part, main) for main in _main_names(part))
    }
    lacking = [name for name, sizes in left.items() if sizes is None]
    if lacking and len(lacking) == len(left):
        raise LayoutError(
            f"the config of this {library_config.model_type} model lacks {' and '.join(lacking)}"
        )
    own |= dict.fromkeys(lacking)
    for name, sizes in left.items():
        own |= {f"{name}.{size}": value for size, value in (sizes or {}).items()}
    return own


def _main_names(library_config: Any) -> list[str]:
    """Return the names of the main sizes in one config."""
    return [library_config.attribute_map.get(name, name) for name in _MAIN]


def _check_values(library_config: Any) -> None:
    """Raise LayoutError if a main size is below 1, or if there are more than 1000 layers."""
    parts = (getattr(library_config, name, None) for name in library_config.sub_configs)
    for part in (library_config, *(part for part in parts if part is not None)):
        for name in _main_names(part):
            value = _plain(getattr(part, name, None))
            sizes = [n for n in (value if isinstance(value, list) else [value]) if type(n) is int]
            most = _MOST_LAYERS if "layer" in name or name == "depths" else _MOST
            if any(not 1 <= n <= most for n in sizes):
                raise LayoutError(f"the config's {name} is {value}; valid: 1 to {most}")


def _part_unstated(part: Any, config: Config, name: str) -> dict[str, Any] | None:
    """Return the sizes of a part that are not stated; None if none of its sizes is stated.

    Older files state the sizes of a part beside the parts.
    """
    inside = config.get(name)
    left = _unstated(part, {**config, **(inside if isinstance(inside, Mapping) else {})})
    return None if len(left) == len(dict(_default_sizes(part))) else left


def _unstated(library_config: Any, stated: Config) -> dict[str, Any]:
    """Return the sizes of one config that have their default and no key in ``stated``."""
    aliases: Mapping[str, str] = library_config.attribute_map
    known = {*stated, *(aliases[key] for key in stated if key in aliases)}
    known |= {name for name, other in aliases.items() if other in stated}
    return {
        name: default
        for name, default in _default_sizes(library_config)
        if name not in known and _plain(getattr(library_config, name)) == default
    }


def _default_sizes(library_config: Any) -> Iterator[tuple[str, Any]]:
    """Yield names and defaults of the fields that are sizes: whole numbers, or lists of them."""
    for field in fields(library_config):
        made = field.default if field.default_factory is MISSING else field.default_factory()
        default = _plain(made)
        numbers = default if isinstance(default, list) else [default]
        is_size = _SIZE.fullmatch(field.name) and not _NO_SIZE.fullmatch(field.name)
        if is_size and numbers and all(type(n) is int and n > 0 for n in numbers):
            yield field.name, default


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
