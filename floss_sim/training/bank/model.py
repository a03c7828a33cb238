"""The bank's model: a frozen backbone whose adapted layers hold the values of many clients.

A *banked layer* is a layer of the backbone with an adapter, a bias or a head for each client. A
*party* is the clients of one run in a pass; several runs can share a bank.

PEFT remains the definition of the adapter: the vectors are those of
:class:`floss_sim.training.models.flat_model.FlatModel`, and adapters are saved by PEFT.

Shapes: C clients, N entries of the layout, E examples, M targets,
K classes or words, R rank, I input width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from floss_sim.runs.config import RunConfig
from floss_sim.training.bank.first_token import read_first_token
from floss_sim.training.bank.layers import (
    BankBias,
    BankHead,
    BankLinear,
    BankNorm,
    BatchSegments,
    Segments,
)
from floss_sim.training.bank.onednn import use_onednn
from floss_sim.training.models.dropout import DropoutStreams, use_stream_dropout
from floss_sim.training.models.frozen_prefix import FrozenPrefix, frozen_layers
from floss_sim.training.models.inputs import Reader, Tensors, reader
from floss_sim.training.models.loading import checkpoint_layers, load_backbone
from floss_sim.training.models.parameter_names import module_path, module_paths, tensor_parameters
from floss_sim.training.models.square_adapters import square_product
from floss_sim.vectors.layout import (
    BASIS_A,
    BASIS_B,
    BIAS,
    HEAD_BIAS,
    HEAD_SCALE,
    HEAD_WEIGHT,
    LORA_A,
    LORA_B,
    MAGNITUDE,
    SQUARE,
    SQUARE_SCALE,
    Layout,
    TensorSpec,
    initial_values,
)
from floss_sim.vectors.top_k import Vector

BankLayer = BankLinear | BankBias | BankHead | BankNorm
# For each kind of tensor: the class of the banked layer that holds it, and the attribute's name.
_LAYER_ATTRIBUTES: dict[str, tuple[type[BankLayer], str]] = {
    LORA_A: (BankLinear, "a"),
    LORA_B: (BankLinear, "b"),
    BASIS_A: (BankLinear, "a"),
    BASIS_B: (BankLinear, "b"),  # times R
    MAGNITUDE: (BankLinear, "magnitude"),
    BIAS: (BankBias, "bias"),
    HEAD_WEIGHT: (BankHead, "weight"),
    HEAD_BIAS: (BankHead, "bias"),  # of a norm if the layer has a scale
    HEAD_SCALE: (BankNorm, "scale"),
}
BoundTensors = list[list[torch.Tensor]]  # one list per party, in the order of its layout


class TrainingStep(Protocol):
    """Interface of :class:`floss_sim.training.bank.step.Step`."""

    def run(self) -> None:
        """Compute the step."""


class StepPlayer(Protocol):
    """Interface of what runs training steps in place of :meth:`TrainingStep.run`."""

    def run(self, step: Any) -> None:
        """Run a step."""


class Bank:
    """A frozen backbone with banked layers, shared by all runs that adapt the same layers.

    Args:
        backbone: The backbone, with its adapted layers replaced by banked layers.
        places: The banked layers, by canonical layer name.
        batch: The segments that the banked layers read: the examples of each client.
        draws: The random streams of dropout.
        inputs: The reader of the task's examples.
        pretrained: The base of each tensor of a layout that is not zero, flat, by canonical name.
        device: Device of the backbone.
        bf16: Whether the forward pass runs under bfloat16 autocast.
        keep_prefix: Whether activations below the first banked layer are kept.
        drops_below: Whether training has the dropout below that layer.
        player: Runs training steps, on a GPU as CUDA graphs; None: steps run directly.
    """

    def __init__(
        self,
        backbone: PreTrainedModel,
        places: Mapping[str, BankLayer],
        batch: BatchSegments,
        draws: DropoutStreams,
        inputs: Reader,
        pretrained: Mapping[str, Vector],
        *,
        device: torch.device,
        bf16: bool = False,
        keep_prefix: bool = False,
        drops_below: bool = True,
        player: StepPlayer | None = None,
    ) -> None:
        self.model = backbone.requires_grad_(False).eval()
        self.inputs = inputs
        self.draws = draws
        self.pretrained = pretrained
        self.device = device
        self._places = places
        self._batch = batch
        self.bf16 = bf16
        self.player = player
        self._scales: list[float] = []
        layers = frozen_layers(backbone, _is_banked) if keep_prefix else ()
        self.prefix = FrozenPrefix(
            backbone, layers, inputs, draws, device=device, bf16=bf16, drops=drops_below
        )

    def bind(
        self, parties: Sequence[tuple[BankModel, torch.Tensor]], *, train: bool
    ) -> BoundTensors:
        """Bind client vectors to the banked layers; return them as tensors of the layouts.

        Args:
            parties: Each run's model with its clients' values, float32 of shape (C, N), or
                (C, N + L) with L local factors, on the device; the values are not copied.
            train: Whether the returned tensors require gradients.

        Returns:
            For each party its layout's tensors, of shape (C, *shape) each, then its local factors.
        """
        for place in self._places.values():
            place.clear()
        self._scales = [model.scale for model, _ in parties]
        return [self._bind(model, values_CN, train) for model, values_CN in parties]

    def _bind(self, model: BankModel, values_CN: torch.Tensor, train: bool) -> list[torch.Tensor]:
        layout = model.layout
        places = dict(layout.slices)
        if values_CN.shape[1] > layout.entries:
            places |= layout.local_slices
        bound = {}
        for tensor in (*layout.tensors, *layout.local):
            if tensor.name in places:
                part = values_CN[:, places[tensor.name]].view(-1, *tensor.shape)
                bound[tensor.name] = part.detach().requires_grad_(train)
                self._put(tensor, bound[tensor.name])
        for tensor, values in model.frozen.items():
            self._put(tensor, _with_square(tensor, values, bound))
        return list(bound.values())

    def _put(self, tensor: TensorSpec, values: torch.Tensor) -> None:
        if tensor.kind in _LAYER_ATTRIBUTES:
            _, attribute = _LAYER_ATTRIBUTES[tensor.kind]
            getattr(self._places[layer_of(tensor)], attribute).append(values)

    def set_training(self, on: bool) -> None:
        """Switch dropout on or off; cheap if the mode does not change."""
        if self.model.training != on:
            self.model.train(on)

    def take(self, step: TrainingStep) -> None:
        """Run a training step."""
        if self.player is None:
            step.run()
        else:
            self.player.run(step)

    def logits(
        self, arguments: Mapping[str, torch.Tensor], sizes: Sequence[Sequence[int]]
    ) -> torch.Tensor:
        """Return the backbone's logits, (E, K), or (E, T, K) in next-token prediction.

        Args:
            arguments: The backbone's keyword arguments for all examples, party after party.
            sizes: For each party the number of examples of each client.
        """
        firsts = accumulate((sum(own) for own in sizes), initial=0)
        parties = zip(sizes, firsts, self._scales, strict=False)
        self._batch.parties = [Segments(tuple(own), first, scale) for own, first, scale in parties]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return self.prefix.logits(lambda: self.model(**arguments).logits)

    def outputs(self, x: torch.Tensor, y: torch.Tensor, sizes: Sequence[Sequence[int]]) -> Tensors:
        """Return (logits (M, K) in float32, targets (M,)) of a batch.

        M, the number of targets, depends on the task kind: one per example, or one per predicted
        token.

        Args:
            x: Images (E, C, H, W) or tokens (E, T), on the device, party after party.
            y: Classes (E,), on the device; unused in next-token prediction.
            sizes: For each party the number of examples of each client.

        Raises:
            TaskError: The backbone cannot read the inputs.
        """
        logits = self.logits(self.inputs.read(x), sizes)
        found, targets = self.inputs.targets(logits, x, y)
        return found.float(), targets


def _with_square(
    tensor: TensorSpec, values: torch.Tensor, bound: Mapping[str, torch.Tensor]
) -> torch.Tensor:
    """Return a frozen tensor's values; of a frozen B its products B R, (C, O, R)."""
    if tensor.kind != BASIS_B:
        return values
    layer = layer_of(tensor)
    square, factors = bound[f"{layer}.{SQUARE}"], bound.get(f"{layer}.{SQUARE_SCALE}")
    return square_product(values, square, factors)


class BankModel:
    """One run's view of a bank: its clients' values are a matrix with one row per client.

    Args:
        bank: The bank of the run's backbone.
        layout: The layout of a row; adapters, biases and heads are slices of it.
        scale: LoRA's scale of an update.
        frozen: The adapter tensors that the layout does not train, (R, I) each, on the device.
        base: Values that offsets are added to, float32 of shape (N,), see
            :class:`floss_sim.training.models.flat_model.FlatModel`.
    """

    def __init__(
        self,
        bank: Bank,
        layout: Layout,
        scale: float,
        frozen: Mapping[TensorSpec, torch.Tensor],
        base: Vector,
    ) -> None:
        self.bank = bank
        self.layout = layout
        self.scale = scale
        self.frozen = frozen
        self.inputs = bank.inputs
        self.base = base

    def with_scale(self, factor: float) -> BankModel:
        """Return the same model with LoRA's scale multiplied by a factor."""
        return BankModel(self.bank, self.layout, factor * self.scale, self.frozen, self.base)

    @property
    def device(self) -> torch.device:
        """Device of the backbone."""
        return self.bank.device

    def load(self, vector_N: Vector) -> None:
        """Bind one vector of values, float32 of shape (N,), as the only client of the pass."""
        values_CN = torch.from_numpy(vector_N).to(self.device).unsqueeze(0)
        self.bank.bind([(self, values_CN)], train=False)

    def set_training(self, on: bool) -> None:
        """Switch dropout on or off."""
        self.bank.set_training(on)

    @property
    def prefix(self) -> FrozenPrefix:
        """Activations below the first banked layer."""
        return self.bank.prefix

    def outputs(self, x: torch.Tensor, y: torch.Tensor) -> Tensors:
        """Return (logits (M, K) in float32, targets (M,)) of a batch of the only client.

        Raises:
            TaskError: The backbone cannot read the inputs.
        """
        return self.bank.outputs(x, y, [[len(x)]])


def banked_layers(config: RunConfig) -> Mapping[str, type[BankLayer]]:
    """Return the class of each banked layer, by canonical name.

    Runs of one backbone with the same banked layers can share a bank.
    """
    tensors = sorted((*config.layout.tensors, *config.layout.frozen), key=_is_scale)
    return {
        layer_of(tensor): _LAYER_ATTRIBUTES[tensor.kind][0]
        for tensor in tensors
        if tensor.kind != SQUARE
    }


def _is_scale(tensor: TensorSpec) -> bool:
    return tensor.kind == HEAD_SCALE


def build_bank(config: RunConfig, device: torch.device, player: StepPlayer | None = None) -> Bank:
    """Return a bank on a device: the run's backbone, with banked target layers and head.

    Args:
        config: The run's configuration.
        device: Device of the backbone.
        player: Runs the training steps; it is not used for steps with dropout, gradient
            checkpointing or kept activations. None: steps run directly.

    Raises:
        TaskError: The backbone cannot be loaded.
        LayoutError: The backbone lacks a layer of the layout.
    """
    backbone = load_backbone(config.task)
    batch, draws = BatchSegments(), DropoutStreams(device)
    pretrained = _pretrained(config.layout, backbone)
    places = _put_layers(backbone, config, batch)
    backbone.to(device)
    read_first_token(backbone, draws)
    use_stream_dropout(backbone, backbone, draws)
    use_onednn(backbone, device)
    if config.client.gradient_checkpointing:
        checkpoint_layers(backbone)
    if draws.sites or config.client.gradient_checkpointing or config.keeps_prefix:
        player = None
    if player:  # use_cache skips transformers' check for packed texts, which cannot be recorded
        backbone.config.use_cache = True
    return Bank(
        backbone, places, batch, draws, reader(config.task),
        pretrained, device=device, bf16=config.client.precision == "bf16",
        keep_prefix=config.keeps_prefix, drops_below=config.client.frozen_dropout, player=player,
    )  # fmt: skip


def build_bank_model(
    config: RunConfig, device: torch.device, bank: Bank | None = None
) -> BankModel:
    """Return a run's model over a bank.

    Args:
        config: The run's configuration.
        device: Device of the backbone.
        bank: A bank with the run's banked layers; None: a new bank.

    Raises:
        TaskError: The backbone cannot be loaded.
        LayoutError: The backbone lacks a layer of the layout.
    """
    frozen = {
        tensor: torch.from_numpy(initial_values(tensor, config.seed)).view(tensor.shape).to(device)
        for tensor in config.layout.frozen
    }
    scale = config.adapters.scale
    bank = bank or build_bank(config, device)
    return BankModel(bank, config.layout, scale, frozen, _base(config.layout, bank.pretrained))


def _pretrained(layout: Layout, backbone: PreTrainedModel) -> dict[str, Vector]:
    """Return the base of the layout's tensors that is not zero, flat, by tensor name."""
    biases = [tensor for tensor in layout.tensors if tensor.kind == BIAS]
    found = tensor_parameters(biases, backbone).items()
    based = {tensor.name: values.detach().numpy().ravel().copy() for tensor, values in found}
    paths = module_paths(backbone)
    for tensor in layout.tensors:
        if tensor.kind == MAGNITUDE:
            based[tensor.name] = _row_norms(
                backbone.get_submodule(module_path(paths, layer_of(tensor)))
            )
        elif tensor.kind == HEAD_SCALE:
            based[tensor.name] = np.ones(tensor.size, dtype=np.float32)
    return based


def _row_norms(layer: nn.Module) -> Vector:
    """Return the norms of the rows of a linear layer's weight (O, I), float32 of shape (O,)."""
    turned = isinstance(layer, Conv1D)
    weight = cast("torch.Tensor", layer.weight).detach()
    norms: Vector = torch.linalg.norm(weight, dim=0 if turned else 1).numpy()
    return norms


def _base(layout: Layout, pretrained: Mapping[str, Vector]) -> Vector:
    base_N = np.zeros(layout.entries, dtype=np.float32)
    for name, values in pretrained.items():
        base_N[layout.slices[name]] = values
    return base_N


def layer_of(tensor: TensorSpec) -> str:
    """Return the canonical name of the layer that a tensor belongs to."""
    return tensor.name.rpartition(".")[0]


def _put_layers(
    backbone: PreTrainedModel, config: RunConfig, batch: BatchSegments
) -> dict[str, BankLayer]:
    """Replace the layers that a run trains; return the new banked layers, by canonical name."""
    paths = module_paths(backbone)
    places: dict[str, BankLayer] = {}
    for layer, kind in banked_layers(config).items():
        path = module_path(paths, layer)
        places[layer] = _bank_layer(
            kind, backbone.get_submodule(path), config.task.lora.dropout, batch
        )
        backbone.set_submodule(path, places[layer])
    return places


def _is_banked(module: nn.Module) -> bool:
    return isinstance(module, BankLinear | BankBias | BankHead | BankNorm)


def _bank_layer(
    kind: type[BankLayer], layer: nn.Module, dropout: float, batch: BatchSegments
) -> BankLayer:
    if kind is BankHead:
        return BankHead(batch)
    if kind is BankBias:
        return BankBias(layer, batch)
    if kind is BankNorm:
        return BankNorm(layer, batch)
    return BankLinear(layer, nn.Dropout(dropout), batch)
