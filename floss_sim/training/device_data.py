"""Task data on a device: one copy, shared by all runs of a process that use the same data."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from numpy.typing import NDArray

from floss_sim.tasks.arrays import Arrays

_copies: weakref.WeakValueDictionary[tuple[int, str], torch.Tensor]
_copies = weakref.WeakValueDictionary()


def device_tensors(arrays: Arrays, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (inputs, classes) as tensors on a device; callers must not write to them."""
    x, y = arrays
    return _copy(x, device), _copy(y, device)


def _copy(array: NDArray[Any], device: torch.device) -> torch.Tensor:
    key = id(array), str(device)
    copy = _copies.get(key)
    if copy is None:
        copy = _copies[key] = torch.from_numpy(array).to(device)
        weakref.finalize(array, _copies.pop, key, None)  # Python may reuse the id after that
    return copy
