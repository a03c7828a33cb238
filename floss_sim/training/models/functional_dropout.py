"""Dropout that a model calls as a function, from the clients' streams.

Some models call ``torch.nn.functional.dropout`` in the forward pass of a module instead of holding
a module for it (OPT, BLOOM, Falcon). Such modules are found by their source. While one runs, the
function draws from the clients' streams; elsewhere it is torch's own. A site is the module's path
and the number of the call within it, so that recomputed activations get the same entries.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn import functional

_CALL = re.compile(r"\b(functional|F)\.dropout\(|\bdropout_add\(")
_plain: Callable[..., torch.Tensor] = functional.dropout


class Draw(Protocol):
    """Interface of the function that draws: activations, rate, and name of the site."""

    def __call__(self, x: torch.Tensor, rate: float, path: str) -> torch.Tensor:
        """Return the activations with dropout."""


@dataclass
class _Frame:
    """A module that runs: its path, how it draws, and the calls that it has made."""

    path: str
    draw: Draw
    calls: int = 0


_running: list[_Frame] = []


def use_in_functions(model: nn.Module, draw: Draw) -> int:
    """Let the functions that a model's modules call draw from streams; return their number.

    Args:
        model: The model.
        draw: Draws the dropout of a site.
    """
    found = [(path, m) for path, m in model.named_modules() if _calls_dropout(type(m))]  # type: ignore[arg-type]
    for path, module in found:
        module.register_forward_pre_hook(_begin(path, draw))
        module.register_forward_hook(_end, always_call=True)
    if found:
        functional.dropout = _dropout
    return len(found)


@cache
def _calls_dropout(kind: type[nn.Module]) -> bool:
    """Return whether a class of the model library calls dropout as a function, by its source."""
    if not kind.__module__.startswith("transformers.models."):
        return False
    try:
        return bool(_CALL.search(inspect.getsource(kind)))
    except (OSError, TypeError):  # no source
        return False


def _begin(path: str, draw: Draw) -> Callable[[nn.Module, Any], None]:
    def push(module: nn.Module, inputs: Any) -> None:
        _running.append(_Frame(path, draw))

    return push


def _end(module: nn.Module, inputs: Any, outputs: Any) -> None:
    _running.pop()


def _dropout(
    input: torch.Tensor,  # noqa: A002 - the parameter's name in torch
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
) -> torch.Tensor:
    """Return activations as ``torch.nn.functional.dropout`` does, or from streams."""
    if not _running or not training or not p:
        return _plain(input, p, training, inplace)
    frame = _running[-1]
    frame.calls += 1
    return frame.draw(input, p, f"{frame.path}.{frame.calls}")
