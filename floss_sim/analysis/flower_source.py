"""LoRA settings in the Python files of a Flower app; the files are parsed and never run.

Flower's template for language models builds ``peft.LoraConfig`` in Python. Arguments that are
constants there, such as ``use_dora=True``, decide what the app sends.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_OPTIONS = {  # option of ``floss-sim estimate`` by argument of LoraConfig
    "r": "rank", "lora_alpha": "alpha", "target_modules": "targets", "use_dora": "dora",
    "modules_to_save": "save", "bias": "bias", "layers_to_transform": "layers",
    "rank_pattern": "rank_pattern", "alpha_pattern": "alpha_pattern", "use_rslora": "rslora",
    "lora_bias": "lora_bias",
}  # fmt: skip
_KINDS = {
    "rank": (int,), "alpha": (int, float), "targets": (list, str), "dora": (bool,),
    "save": (list,), "bias": (str,), "layers": (list, int), "rank_pattern": (dict,),
    "alpha_pattern": (dict,), "rslora": (bool,), "lora_bias": (bool,),
}  # fmt: skip
_IN_SETTINGS = ("r", "lora_alpha", "target_modules", "use_dora")  # keys of the template
_NO_OPTION = (  # arguments that decide what trains, and that no option of ``estimate`` states
    "exclude_modules", "layers_pattern", "layer_replication", "target_parameters",
    "trainable_token_indices",
)  # fmt: skip
_CALL = "LoraConfig"
_NOT_OF_THE_APP = ("site-packages", "node_modules", "build", "tests")
_MOST_FILES, _MOST_BYTES = 500, 1_000_000


@dataclass(frozen=True)
class LoraArguments:
    """Arguments of an app's LoRA configurations.

    Attributes:
        stated: The constants, by option of ``floss-sim estimate``.
        unread: Names of arguments that decide what trains and are not known: they are no constants,
            several constants, or no option of ``estimate`` states them.
    """

    stated: Mapping[str, Any]
    unread: tuple[str, ...]


def lora_arguments(folder: Path) -> LoraArguments:
    """Return the arguments of an app's LoRA configurations.

    An argument is not stated if several configurations have different constants for it.
    """
    found: dict[str, list[Any]] = {}
    unread: set[str] = set()
    for argument, value in (pair for path in _sources(folder) for pair in _arguments(path)):
        option = _OPTIONS.get(argument)
        if option and _fits(option, value):
            found.setdefault(argument, []).append(_text(option, value))
        elif argument not in _IN_SETTINGS:
            unread.add(argument)
    agreed = {name: all(v == values[0] for v in values) for name, values in found.items()}
    unread.update(name for name in found if not agreed[name])
    stated = {_OPTIONS[name]: values[0] for name, values in found.items() if agreed[name]}
    return LoraArguments(stated, tuple(sorted(unread)))


def _sources(folder: Path) -> list[Path]:
    """Return the Python files of an app, without those of environments."""
    found = (
        path
        for path in sorted(folder.rglob("*.py"))
        if not any(
            part.startswith(".")
            or part in _NOT_OF_THE_APP
            or (folder / part / "pyvenv.cfg").exists()
            for part in path.relative_to(folder).parts
        )
    )
    return [path for path, _ in zip(found, range(_MOST_FILES), strict=False)]


def _arguments(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the arguments of a file's LoRA configurations that decide what trains.

    The value is None where it is no constant. ``None`` itself, and what is empty, is PEFT's
    default, and is left out.
    """
    try:
        if not path.is_file():
            return
        with path.open("rb") as file:
            blob = file.read(_MOST_BYTES + 1)
        if len(blob) > _MOST_BYTES:
            return
        tree = ast.parse(blob)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or _called(node) != _CALL:
            continue
        for keyword in node.keywords:
            value = _constant(keyword.value)
            is_default = value in ([], {}) or ast.unparse(keyword.value) == "None"
            if keyword.arg in (*_OPTIONS, *_NO_OPTION) and not is_default:
                yield str(keyword.arg), value


def _called(node: ast.Call) -> str | None:
    """Return the last part of the name of what is called."""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else None


def _constant(node: ast.expr) -> Any:
    """Return the value of a literal, sets and tuples as sorted lists; None if it is no literal."""
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError):
        return None
    return sorted(value, key=str) if isinstance(value, set | tuple) else value


def _fits(option: str, value: Any) -> bool:
    """Return whether a constant is of the kind that PEFT takes for an option."""
    if type(value) not in _KINDS[option]:
        return False
    if isinstance(value, list):
        return all(type(item) is (int if option == "layers" else str) for item in value)
    if isinstance(value, dict):
        return all(type(k) is str and type(n) in (int, float) for k, n in value.items())
    return True


def _text(option: str, value: Any) -> Any:
    """Return a value as the option takes it: lists joined by commas, and expressions marked."""
    if option == "targets" and isinstance(value, str):
        return value if value == "all-linear" else f"re:{value}"
    if option == "layers":
        value = sorted(value) if isinstance(value, list) else [value]
    return ",".join(map(str, value)) if isinstance(value, list) else value
