"""A run's backbone with banked layers: one frozen model for any number of clients' vectors.

PEFT stays the definition of the adapter: the vectors are those of
:class:`floss_sim.training.backbone.FlatModel`, and what is saved goes through PEFT.

Shapes: C clients, N entries of the layout, E examples, M targets, K classes or words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from floss_sim.config import RunConfig
from floss_sim.families import family_of
from floss_sim.layout import HEAD_BIAS, HEAD_WEIGHT, LORA_A, LORA_B, Layout, initial_values
from floss_sim.sparsity import Vector
from floss_sim.training.bank import BankHead, BankLinear, Batch, Segments
from floss_sim.training.dropout import Draws, install
from floss_sim.training.frozen import speed_up
from floss_sim.training.inputs import Reader, Tensors, reader
from floss_sim.training.loading import checkpoint_layers, load_backbone
from floss_sim.training.parameters import first_of

_ATTRIBUTES = {LORA_A: "a", LORA_B: "b", HEAD_WEIGHT: "weight", HEAD_BIAS: "bias"}
BANKED = tuple(_ATTRIBUTES)  # the kinds of tensors that can be stacked


class BankModel:
    """A backbone whose adapters and heads are slices of a matrix with a row for each client.

    Args:
        backbone: Frozen, with banked layers in the places of ``places``.
        layout: Names the entries of a row.
        places: The module that holds each of the layout's tensors, in its order.
        batch: The segments that the banked layers read.
        draws: What dropout draws from.
        inputs: Reads the task's examples.
        bf16: Whether the forward pass runs under bfloat16 autocast.
    """

    def __init__(
        self,
        backbone: PreTrainedModel,
        layout: Layout,
        places: Sequence[nn.Module],
        batch: Batch,
        draws: Draws,
        inputs: Reader,
        *,
        device: torch.device,
        bf16: bool = False,
    ) -> None:
        self.model = backbone.requires_grad_(False).eval()
        self.layout = layout
        self.inputs = inputs
        self.draws = draws
        self.device = device
        self.base: Vector = np.zeros(layout.entries, dtype=np.float32)
        self._places = places
        self._batch = batch
        self._bf16 = bf16

    def bind(self, values_CN: torch.Tensor, *, train: bool = False) -> list[torch.Tensor]:
        """Let each client's layers read its row; return the layout's tensors, (C, *shape) each.

        Args:
            values_CN: float32, on the model's device; not copied.
            train: Whether gradients of the returned tensors will be asked for.
        """
        bound = []
        for tensor, place in zip(self.layout.tensors, self._places, strict=True):
            part = values_CN[:, self.layout.slices[tensor.name]].view(-1, *tensor.shape)
            part = part.detach().requires_grad_(train)
            setattr(place, _ATTRIBUTES[tensor.kind], part)
            bound.append(part)
        return bound

    def load(self, vector_N: Vector) -> None:
        """Take one vector of values, float32 of shape (N,), as that of the only client."""
        self.bind(torch.from_numpy(vector_N).to(self.device).unsqueeze(0))

    def set_training(self, on: bool) -> None:
        """Switch dropout on or off; costs nothing where the mode is right already."""
        if self.model.training != on:
            self.model.train(on)

    def outputs(
        self, x: torch.Tensor, y: torch.Tensor, sizes: Sequence[int] | None = None
    ) -> Tensors:
        """Return (logits (M, K) in float32, targets (M,)) of a batch; M differs from task to task.

        Args:
            x: Images (E, C, H, W) or tokens (E, T), on the model's device, client after client.
            y: Classes (E,); next-token prediction does not use them.
            sizes: How many examples each client has; all belong to the only one by default.

        Raises:
            TaskError: Inputs that the backbone cannot read.
        """
        self._batch.segments = Segments((len(x),) if sizes is None else tuple(sizes))
        arguments = self.inputs.read(x)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16):
            logits = self.model(**arguments).logits
        found, targets = self.inputs.targets(logits, x, y)
        return found.float(), targets


def build_bank_model(config: RunConfig, device: torch.device) -> BankModel:
    """Return a run's backbone on a device, its target layers and its head banked.

    Raises:
        TaskError: The backbone cannot be loaded.
        LayoutError: The backbone lacks a layer of the layout.
    """
    backbone = load_backbone(config.task)
    batch, draws = Batch(), Draws(device)
    scale = config.task.lora.alpha / config.rank

    def banked(place: nn.Module) -> BankLinear:
        return BankLinear(place, scale, nn.Dropout(config.task.lora.dropout), batch)

    layers = _Layers(backbone)
    places = [
        layers.put(tensor.name, lambda _: BankHead(batch))
        if tensor.kind in (HEAD_WEIGHT, HEAD_BIAS)
        else layers.put(tensor.name, banked)
        for tensor in config.layout.tensors
    ]
    backbone.to(device)
    for tensor in config.layout.frozen:
        values = torch.from_numpy(initial_values(tensor, config.seed)).view(tensor.shape)
        setattr(layers.put(tensor.name, banked), _ATTRIBUTES[tensor.kind], values.to(device))
    install(backbone, backbone, draws)
    speed_up(backbone, device)
    if config.client.gradient_checkpointing:
        checkpoint_layers(backbone)
    return BankModel(
        backbone, config.layout, places, batch, draws, reader(config.task, backbone.config),
        device=device, bf16=config.client.precision == "bf16",
    )  # fmt: skip


class _Layers:
    """A backbone's modules by canonical name, each replaced once."""

    def __init__(self, backbone: PreTrainedModel) -> None:
        self._backbone = backbone
        self._family = family_of({"model_type": backbone.config.model_type})
        self._existing = {name for name, _ in backbone.named_modules()}
        self._made: dict[str, nn.Module] = {}

    def put(self, tensor: str, make: Callable[[nn.Module], nn.Module]) -> nn.Module:
        """Replace the layer that a tensor belongs to, if it has not been; return what is there."""
        layer = tensor.rpartition(".")[0]
        if layer not in self._made:
            spellings = [self._family.head] if layer == "head" else self._family.spellings(layer)
            path = first_of(spellings, self._existing)
            self._made[layer] = made = make(self._backbone.get_submodule(path))
            self._backbone.set_submodule(path, made)
        return self._made[layer]
