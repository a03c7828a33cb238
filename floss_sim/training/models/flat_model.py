"""A run's model, with its trained parameters bound to one flat vector."""

from __future__ import annotations

import torch
from torch import nn

from floss_sim.runs.config import RunConfig
from floss_sim.training.models.adapted_weights import bind_frozen
from floss_sim.training.models.dropout import DropoutStreams, use_stream_dropout
from floss_sim.training.models.frozen_prefix import FrozenPrefix, frozen_layers
from floss_sim.training.models.inputs import Reader, Tensors, reader
from floss_sim.training.models.loading import checkpoint_layers, load_backbone
from floss_sim.training.models.parameter_names import TransformersModel, tensor_parameters
from floss_sim.training.models.peft_adapters import with_adapters
from floss_sim.training.models.square_adapters import add_squares, fold_factors, with_factors
from floss_sim.vectors.layout import (
    ADAPTED_WEIGHT,
    HEAD_SCALE,
    PRETRAINED_KINDS,
    SQUARE_SCALE,
    Layout,
    TensorSpec,
    initial_values,
    sort_by_name,
)
from floss_sim.vectors.top_k import Vector


class FlatModel:
    """A model whose trained parameters are views into one flat vector, as are their gradients.

    ``flat`` has shape (N + L,) in the layout's order; L is 0 but for layouts with local factors.
    Writing into ``flat`` changes the model, and after a backward pass ``flat.grad`` holds the whole
    gradient. No other parameter trains.
    ``base``, float32 of shape (N,), holds the values that offsets are added to: the pretrained
    values of biases and weights, DoRA's initial magnitudes, one for the scale of a norm in the
    head, and zero for adapters and the rest of the head.

    In training mode the backbone's own dropouts are active as well as LoRA's, as in the published
    training loop, which calls ``model.train()``. All dropouts draw from ``draws``; the caller must
    set the clients of each batch there.

    Factors that clients train and never send follow the N entries in ``flat``. :meth:`load` sets
    them to one, and :meth:`vector` multiplies them into what they scale.

    ``prefix`` holds the activations below the first trained layer; it has none if ``keep_prefix``
    is not set.

    Args:
        model: The backbone, or PEFT's model around it; moved to ``device``.
        layout: The tensors that train.
        inputs: The reader of the task's examples.
        draws: The random streams of dropout.
        device: Device to move the model to.
        bf16: Whether the forward pass runs under bfloat16 autocast.
        keep_prefix: Whether activations below the first trained layer are kept.
        drops_below: Whether training has the dropout below that layer.

    Raises:
        LayoutError: The model's parameters do not match the layout.
    """

    def __init__(
        self,
        model: TransformersModel,
        layout: Layout,
        inputs: Reader,
        draws: DropoutStreams,
        device: torch.device,
        *,
        bf16: bool = False,
        keep_prefix: bool = False,
        drops_below: bool = True,
    ) -> None:
        self.model = model.to(device)
        self.layout = layout
        self.inputs = inputs
        self.draws = draws
        size = layout.entries + layout.local_entries
        self.flat = nn.Parameter(torch.zeros(size, device=device))
        self.flat.grad = torch.zeros_like(self.flat)
        self._bf16 = bf16
        model.requires_grad_(False)
        places = {**layout.slices, **layout.local_slices}
        every = sort_by_name((*layout.tensors, *layout.local))
        for tensor, parameter in tensor_parameters(every, model).items():
            self._bind(tensor, parameter, places[tensor.name])
        self.base = self.vector()
        layers = frozen_layers(model, _is_trained) if keep_prefix else ()
        self.prefix = FrozenPrefix(
            model, layers, inputs, draws, device=device, bf16=bf16, drops=drops_below
        )

    def _bind(self, tensor: TensorSpec, parameter: nn.Parameter, where: slice) -> None:
        if tensor.kind == ADAPTED_WEIGHT:
            bind_frozen(self.model, tensor, parameter, self.flat.data[where])
            return
        view = self.flat.data[where].view(parameter.shape)
        if tensor.kind in PRETRAINED_KINDS:
            view.copy_(parameter.data)
        elif tensor.kind in (HEAD_SCALE, SQUARE_SCALE):
            view.fill_(1)
        parameter.data = view
        parameter.grad = self.flat.grad[where].view(parameter.shape)  # type: ignore[index]
        parameter.requires_grad_(True)

    @property
    def device(self) -> torch.device:
        """Device of the model's parameters."""
        return self.flat.device

    def set_training(self, on: bool) -> None:
        """Switch dropout on or off; cheap if the mode does not change."""
        if self.model.training != on:
            self.model.train(on)

    def load(self, vector_N: Vector) -> None:
        """Copy values (base + offsets), float32 of shape (N,), into the model."""
        self.flat.data.copy_(with_factors(torch.from_numpy(vector_N), self.layout))

    def vector(self) -> Vector:
        """Return a copy of the model's values, float32 of shape (N,)."""
        return fold_factors(self.flat.detach(), self.layout).cpu().numpy().copy()

    def outputs(self, x: torch.Tensor, y: torch.Tensor) -> Tensors:
        """Return (logits (M, K) in float32, targets (M,)) of a batch.

        M, the number of targets, depends on the task kind: one per example, or one per predicted
        token.

        Args:
            x: Images (examples, C, H, W) or tokens (examples, T), on the model's device.
            y: Classes (examples,), on the model's device; unused in next-token prediction.

        Raises:
            TaskError: The backbone cannot read the inputs.
        """
        arguments = self.inputs.read(x)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16):
            logits = self.prefix.logits(lambda: self.model(**arguments).logits)
        found, targets = self.inputs.targets(logits, x, y)
        return found.float(), targets


def _is_trained(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters(recurse=False))


def build_flat_model(config: RunConfig, device: torch.device) -> FlatModel:
    """Return a run's model on a device; its vector equals the base.

    Raises:
        TaskError: The backbone cannot be loaded.
        LayoutError: The backbone's parameters do not match the layout.
    """
    layout = config.layout
    backbone = load_backbone(config.task)
    inputs = reader(config.task)
    model = with_adapters(backbone, layout, config.task, config.adapters)
    for tensor, parameter in tensor_parameters(layout.frozen, model).items():
        values = initial_values(tensor, config.seed)
        parameter.data.copy_(torch.from_numpy(values).view(parameter.shape))
    add_squares(model, layout)
    draws = DropoutStreams(device)
    use_stream_dropout(model, backbone, draws)
    if config.client.gradient_checkpointing:
        checkpoint_layers(backbone)
    bf16 = config.client.precision == "bf16"
    return FlatModel(
        model.eval(), layout, inputs, draws, device, bf16=bf16,
        keep_prefix=config.keeps_prefix, drops_below=config.client.frozen_dropout,
    )  # fmt: skip
