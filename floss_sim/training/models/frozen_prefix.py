"""The frozen prefix: hidden states below the first trained layer, computed once for each example.

With adapters on the last layers alone, the layers below compute the same hidden states of an
example in every round, for every client and every run that shares the backbone. They are kept, and
given to the first trained layer. The embeddings before the layers are still computed.

**Kept states do not depend on what was asked for before.** They are computed in fixed blocks of
consecutive examples, without dropout, when the first example of a block is needed. A resumed run
therefore continues bit for bit. They may differ in the last bits from states that are computed in a
batch, whose matrix products have other shapes: the learner's kind says that they are used.

They are not used in training mode if a dropout lies below the first trained layer, since every step
then has other states; unless the run leaves out that dropout. Some models use more of their first
layers than the hidden states. The first batch is therefore computed in both ways, and states are
only used if the logits agree. Some models mix tokens of padding or of other examples in. States are
therefore only used if an example has the same ones alone and in a batch with a longer one.

Shapes: E examples, T tokens, W width.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.weak import WeakTensorKeyDictionary

from floss_sim.errors import ConfigError
from floss_sim.training.models.dropout import DropoutStreams, Share
from floss_sim.training.models.inputs import Reader

_BLOCK = 8  # examples that are computed together
# bytes of states that are kept in the device's memory, at most; further ones are kept in a file
_MEMORY_BYTES = {"cpu": 2 * 2**30, "cuda": 16 * 2**30, "mps": 2 * 2**30}
_FILE_BYTES = 64 * 2**30  # bytes of states of a split that are kept in a file, at most
_PROBED = 64  # examples among which the shortest and the longest are looked for
_SAME_LOGITS = 1e-3  # absolute and relative difference of float32 logits of the same network
_SAME_BF16_LOGITS = 5e-2
Part = tuple[torch.Tensor, torch.Tensor]
"""The inputs of a split, (split, ...), and the indices of some of its examples, (E,)."""


class FrozenPrefix:
    """Hidden states after the frozen first layers of a model, by example.

    Args:
        model: The model; called with the reader's arguments.
        layers: Its frozen layers, the first ones of the only stack; their ``forward`` is replaced.
        inputs: The reader of the task's examples.
        draws: The random streams of the model's dropouts.
        device: Device of the model's parameters.
        bf16: Whether the forward pass runs under bfloat16 autocast.
        drops: Whether training has the dropout below the first trained layer.

    Attributes:
        nbytes: Bytes of the states that are kept in memory and in files.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[nn.Module],
        inputs: Reader,
        draws: DropoutStreams,
        *,
        device: torch.device,
        bf16: bool = False,
        drops: bool = True,
    ) -> None:
        self.nbytes = 0
        self._model = model
        self._layers = [_FrozenLayer(layer) for layer in layers]
        self._inputs = inputs
        self._draws = draws
        self._device = device
        self._bf16 = bf16
        self._drops = drops
        self._splits: Any = WeakTensorKeyDictionary()
        self._has_dropout: bool | None = None  # None: not known yet
        self._agrees: bool | None = None if layers else False

    @contextmanager
    def using(self, parts: Sequence[Part]) -> Iterator[None]:
        """Give the model the kept states of a batch's examples in the block.

        Args:
            parts: The examples, in their order.

        Raises:
            TaskError: The backbone cannot read the inputs.
        """
        states = self._gather(parts) if parts and self._agrees is not False else None
        self._give(states)
        try:
            yield
        finally:
            self._give(None)

    def logits(self, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Return the logits of a batch; the first time, check that kept states do not change them.

        Args:
            compute: Calls the model, and returns the logits.
        """
        states = self._layers[0].states if self._layers else None
        if states is not None and self._agrees is None:
            self._check(compute, states)
        return compute()

    def _check(self, compute: Callable[[], torch.Tensor], states: torch.Tensor) -> None:
        with torch.no_grad(), self._mode(training=False):
            short = compute().float()
            self._give(None)
            whole = compute().float()
        near = _SAME_BF16_LOGITS if self._bf16 else _SAME_LOGITS
        self._agrees = torch.allclose(short, whole, rtol=near, atol=near)
        if self._agrees:
            self._give(states)
        else:
            self._stop("they do not give the model's logits")

    def _stop(self, why: str) -> None:
        """Use no kept states from now on, and warn.

        Raises:
            ConfigError: The run needs kept states, since it leaves out a dropout below them.
        """
        if not self._drops:
            raise ConfigError(
                f"client.frozen_dropout = false: activations of the frozen layers cannot be kept: "
                f"{why}"
            )
        self._agrees = False
        self._splits, self.nbytes = WeakTensorKeyDictionary(), 0
        warnings.warn(
            f"activations of the frozen layers are computed in every step, not kept: {why}",
            RuntimeWarning,
            stacklevel=2,
        )

    def _give(self, states: torch.Tensor | None) -> None:
        for layer in self._layers:
            layer.states = states

    def _gather(self, parts: Sequence[Part]) -> torch.Tensor | None:
        """Return the states of some examples, (E, T, W) at the length of the longest text.

        The result is None if they must not be used, or cannot be kept.
        """
        if self._has_dropout is None:
            x, chosen = parts[0]
            self._has_dropout = self._drops and self._draws_below(x[chosen])
        if self._model.training and self._has_dropout:
            return None
        splits = [self._splits.setdefault(x, _SplitStates(x)) for x, _ in parts]
        for kept, (x, chosen) in zip(splits, parts, strict=True):
            for block in kept.lacking(chosen):
                if not self._keep(kept, x, block):
                    return None
        tokens = None
        if any(kept.has_tokens for kept in splits):
            tokens = max(self._inputs.length(x[chosen]) for x, chosen in parts)
        found = [
            kept.of(chosen, tokens, self._device)
            for kept, (_, chosen) in zip(splits, parts, strict=True)
        ]
        return torch.cat(found) if len(found) > 1 else found[0]

    def _keep(self, kept: _SplitStates, x: torch.Tensor, block: slice) -> bool:
        """Compute and keep the states of a block; return whether they can be kept."""
        examples = x[block]
        states = self._compute(examples)
        if states is None:
            self._stop("the layers return more than hidden states")
            return False
        if not kept.is_open:
            if not self._stand_alone(x):
                self._stop("they depend on padding or on other examples of a batch")
                return False
            tokens = self._inputs.length(examples)
            longest = self._inputs.length(x) if tokens and states.shape[1] == tokens else 0
            room = _MEMORY_BYTES[self._device.type] - self.nbytes
            self.nbytes += kept.open(states, longest, room)
            if not kept.is_open:
                self._stop(f"they take more than {_FILE_BYTES / 2**30:g} GiB")
                return False
        kept.keep(block, states)
        return True

    def _compute(self, x: torch.Tensor) -> torch.Tensor | None:
        """Return the hidden states of examples after the frozen layers, (E, T, W)."""
        with self._mode(training=False):
            return self._run_below(x)

    def _stand_alone(self, x: torch.Tensor) -> bool:
        """Return whether an example has the same states alone and in a batch with a longer one.

        The shortest and the longest of the split's first examples are computed.
        """
        lengths = [self._inputs.length(x[i : i + 1]) for i in range(min(len(x), _PROBED))]
        pair = [int(np.argmin(lengths)), len(lengths) - 1 - int(np.argmax(lengths[::-1]))]
        alone, beside = self._compute(x[pair[:1]]), self._compute(x[pair])
        if alone is None or beside is None or (len(alone), len(beside)) != (1, 2):
            return False
        one, other = alone[0].float(), beside[0].float()
        if min(lengths):
            one, other = one[: min(lengths)], other[: min(lengths)]
        near = _SAME_BF16_LOGITS if self._bf16 else _SAME_LOGITS
        return one.shape == other.shape and bool(
            (one - other).abs().max() <= near * one.abs().max()
        )

    def _draws_below(self, x: torch.Tensor) -> bool:
        """Return whether a dropout lies below the first trained layer, by running examples."""
        if not self._draws.sites:
            return False
        with self._mode(training=True), self._draws.sharing([Share(len(x), 0)]):
            drawn = self._draws.drawn
            self._run_below(x)
            return self._draws.drawn > drawn

    def _run_below(self, x: torch.Tensor) -> torch.Tensor | None:
        *_, last = self._layers
        last.ends = True
        try:
            with (
                torch.no_grad(),
                torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16),
            ):
                self._model(**self._inputs.read(x))
        except _Reached as reached:
            hidden = all(layer.returns_states for layer in self._layers)
            return reached.states if hidden else None
        finally:
            last.ends = False
        return None  # the model does not call its layers in a row

    @contextmanager
    def _mode(self, *, training: bool) -> Iterator[None]:
        before = self._model.training
        self._model.train(training)
        try:
            yield
        finally:
            self._model.train(before)


class _Reached(Exception):  # noqa: N818 - ends a forward pass; no error
    """The last frozen layer has been computed; what follows is not needed."""

    def __init__(self, states: torch.Tensor) -> None:
        super().__init__("the frozen layers end here")
        self.states = states


class _FrozenLayer:
    """A frozen layer that computes, or returns the states that are given.

    Args:
        layer: The layer; its ``forward`` is replaced. It returns its hidden states, alone or as the
            first of a tuple whose other items are None.

    Attributes:
        states: What the layer returns; None: it computes.
        ends: Whether it raises :class:`_Reached` with what it has computed.
        returns_states: Whether the layer has returned nothing but hidden states so far.
    """

    def __init__(self, layer: nn.Module) -> None:
        self.states: torch.Tensor | None = None
        self.ends = False
        self.returns_states = True
        self._rest: tuple[None, ...] | None = None  # of a tuple; None: the states alone
        self._compute = layer.forward
        layer.forward = self._forward

    def _forward(self, *positional: Any, **named: Any) -> Any:
        if self.states is not None:
            return self.states if self._rest is None else (self.states, *self._rest)
        output = self._compute(*positional, **named)
        if self.ends or not torch.is_grad_enabled():
            self._note(output)
        if self.ends:
            raise _Reached(output[0] if isinstance(output, tuple) else output)
        return output

    def _note(self, output: Any) -> None:
        rest = output[1:] if isinstance(output, tuple) else ()
        self.returns_states = all(item is None for item in rest)
        self._rest = rest if isinstance(output, tuple) else None


class _SplitStates:
    """States of the examples of one split.

    Args:
        x: The inputs of the split.

    Attributes:
        has_tokens: Whether the second dimension of the states is that of the tokens.
    """

    def __init__(self, x: torch.Tensor) -> None:
        self.has_tokens = False
        self._kept = np.zeros(-(-len(x) // _BLOCK), dtype=bool)  # by block
        self._examples = len(x)
        self._states: torch.Tensor | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is room for the states."""
        return self._states is not None

    def lacking(self, chosen: torch.Tensor) -> Iterator[slice]:
        """Yield the blocks of some examples that have no states yet."""
        for block in np.unique(chosen.cpu().numpy() // _BLOCK):
            if not self._kept[block]:
                yield slice(int(block) * _BLOCK, min(self._examples, (int(block) + 1) * _BLOCK))

    def open(self, like: torch.Tensor, longest: int, memory: int) -> int:
        """Make room for the states of all examples; return its bytes, 0 if there is too little.

        Args:
            like: The states of a block.
            longest: Tokens of the longest text; 0: all examples have states of the same shape.
            memory: Bytes that may be kept in memory; otherwise they are kept in a file.
        """
        self.has_tokens = longest > 0
        sides = (longest, *like.shape[2:]) if longest else tuple(like.shape[1:])
        shape = (self._examples, *sides)
        nbytes = int(np.prod(shape)) * like.element_size()
        if nbytes <= memory:
            self._states = torch.zeros(shape, dtype=like.dtype, device=like.device)
        elif nbytes <= _FILE_BYTES:
            self._states = _in_file(nbytes).view(like.dtype).view(shape)
        return nbytes if self.is_open else 0

    def keep(self, block: slice, states: torch.Tensor) -> None:
        """Keep the states of a block."""
        room = self._opened()
        room[block, : states.shape[1]] = states.to(room.device)
        self._kept[block.start // _BLOCK] = True

    def of(self, chosen: torch.Tensor, tokens: int | None, device: torch.device) -> torch.Tensor:
        """Return a copy of the states of some examples, of texts up to ``tokens`` tokens."""
        room = self._opened()
        if self.has_tokens:
            room = room[:, :tokens]
        return room.index_select(0, chosen.to(room.device)).to(device)

    def _opened(self) -> torch.Tensor:
        assert self._states is not None  # noqa: S101 - for the type checker
        return self._states


def _in_file(nbytes: int) -> torch.Tensor:
    """Return bytes of zeros in a file without a name, which ends with the process."""
    with tempfile.TemporaryFile(prefix="floss-sim-activations") as file:
        return torch.from_numpy(np.memmap(file, dtype=np.uint8, mode="w+", shape=(nbytes,)))


def frozen_layers(
    model: nn.Module, is_trained: Callable[[nn.Module], bool]
) -> tuple[nn.Module, ...]:
    """Return the layers below the first trained one of a model's only trained stack.

    Args:
        model: The model.
        is_trained: Returns whether a module holds values that train.

    Returns:
        The layers in their order; all of the largest stack if none of its layers trains, none if
        several stacks train.
    """
    stacks = list(_outermost_stacks(model))
    trained = [stack for stack in stacks if any(map(is_trained, stack.modules()))]
    if len(trained) > 1 or not stacks:
        return ()
    stack = trained[0] if trained else max(stacks, key=_entries)
    first = next(
        (i for i, layer in enumerate(stack) if any(map(is_trained, layer.modules()))), len(stack)
    )
    return tuple(stack)[:first]


def _outermost_stacks(module: nn.Module) -> Iterator[nn.ModuleList]:
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield child
        else:
            yield from _outermost_stacks(child)


def _entries(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
