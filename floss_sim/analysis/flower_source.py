"""LoRA settings in the Python files of a Flower app; the files are parsed and never run.

Flower's template for language models builds ``peft.LoraConfig`` in Python. Arguments that are
constants there, such as ``use_dora=True``, decide what the app sends.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_OPTIONS = {  # option of ``floss-sim estimate`` by argument of LoraConfig
    "r": "rank", "lora_alpha": "alpha", "target_modules": "targets", "use_dora": "dora",
    "modules_to_save": "save", "bias": "bias",
}  # fmt: skip
_KINDS = {
    "rank": (int,), "alpha": (int, float), "targets": (list, str), "dora": (bool,),
    "save": (list,), "bias": (str,),
}  # fmt: skip
_CALL = "LoraConfig"
_NOT_OF_THE_APP = ("site-packages", "node_modules", "build", "tests")
_MOST_FILES, _MOST_BYTES = 500, 1_000_000


def lora_arguments(folder: Path) -> dict[str, Any]:
    """Return the constant arguments of an app's LoRA configuration, by option of ``estimate``.

    An argument is left out if several configurations state different constants for it.
    """
    found: dict[str, list[Any]] = {}
    for path in _sources(folder):
        for name, value in _arguments(path):
            found.setdefault(name, []).append(value)
    return {
        name: values[0] for name, values in found.items() if all(v == values[0] for v in values)
    }


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
    """Yield option and value of the constant arguments of a file's LoRA configurations."""
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
            option = _OPTIONS.get(str(keyword.arg))
            value = _constant(keyword.value) if option else None
            if option and type(value) in _KINDS[option]:
                yield option, _text(option, value)


def _called(node: ast.Call) -> str | None:
    """Return the last part of the name of what is called."""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else None


def _constant(node: ast.expr) -> Any:
    """Return the value of a literal, sets and tuples of names as sorted lists; None if no literal.

    A list of anything but names is none, either.
    """
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError):
        return None
    if not isinstance(value, list | set | tuple):
        return value
    if not all(isinstance(item, str) for item in value):
        return None
    return value if isinstance(value, list) else sorted(value)


def _text(option: str, value: Any) -> Any:
    """Return a value as the option takes it: names joined by commas, and expressions marked."""
    if option == "targets" and isinstance(value, str):
        return value if value == "all-linear" else f"re:{value}"
    return ",".join(map(str, value)) if isinstance(value, list) else value
