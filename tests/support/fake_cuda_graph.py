"""A recorder for the CPU that works as a CUDA graph does: kernels, parameters, addresses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import transformers.utils.import_utils as library
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map


class UnrecordableError(RuntimeError):
    """The host waits for the device, or gives it something."""


class Tape(TorchDispatchMode):
    """Holds every operation with the very tensors that it reads and writes.

    A replay does the operations again, and writes what comes out where it was written when they
    were recorded. Whatever else the host does is not done again. What a CUDA graph cannot hold is
    refused: answers that the host waits for, shapes that depend on values, tensors of the host's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Sequence[Any], dict[str, Any], Any]] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name, leaves = str(function), tree_leaves((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        asked = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
        by_place = "aten.index" in name and all(t.dtype != torch.bool for t in tensors[1:])
        given = "lift_fresh" in name and tensors[0].numel()
        if (given or asked & set(function.tags)) and not by_place:
            raise UnrecordableError(f"{name} cannot be recorded")
        if len({tensor.device for tensor in tensors if tensor.dim()}) > 1:
            raise UnrecordableError(f"{name} reads from two devices")
        found = function(*args, **kwargs)
        results = [leaf for leaf in tree_leaves(found) if isinstance(leaf, torch.Tensor)]
        aliases = any(value.alias_info for value in function._schema.returns)
        if results and ".empty" not in name and (function._schema.is_mutable or not aliases):
            self.operations.append((function, args, kwargs, tree_map(_held, found)))
        return found

    def replay(self) -> None:
        """Do all again."""
        with torch.no_grad():
            for function, args, kwargs, before in self.operations:
                found = function(*args, **kwargs)
                if not function._schema.is_mutable:
                    for new, old in zip(tree_leaves(found), tree_leaves(before), strict=True):
                        if isinstance(old, torch.Tensor):
                            old.copy_(new)


def _held(value: Any) -> Any:
    return value.detach() if isinstance(value, torch.Tensor) else value


class TapeRecorder:
    """Records tapes, and lets the model library believe that a CUDA stream is captured.

    Attributes:
        tapes: All that were made.
    """

    def __init__(self) -> None:
        self.tapes: list[Tape] = []

    def record(self, play: Callable[[], None]) -> Callable[[], None]:
        """Return what plays a call's operations again."""
        before, tape = library.is_cuda_stream_capturing, Tape()
        library.is_cuda_stream_capturing = lambda: True
        try:
            with tape:
                play()
        finally:
            library.is_cuda_stream_capturing = before
        self.tapes.append(tape)
        return tape.replay
