"""A whole model at a sum of seeded directions from its initial weights.

The weights are w = w_0 + a_1 z_1 + ... + a_K z_K. Each z_k is standard normal over all M entries of
the model, drawn from a named stream of the run's seed when it is needed, and never stored. The sum
is always taken in the order of k, so that equal scalars give equal bits.

Shapes: N = K scalars, M entries of the model.
"""

from __future__ import annotations

import numpy as np
import torch

from floss_sim.families.adapter_settings import AdapterSettings
from floss_sim.rng import stream_seed
from floss_sim.runs.config import RunConfig
from floss_sim.tasks import Task
from floss_sim.training.models.dropout import DropoutStreams
from floss_sim.training.models.flat_model import FlatModel, build_flat_model
from floss_sim.training.models.inputs import reader
from floss_sim.training.models.loading import load_backbone
from floss_sim.training.models.parameter_names import TransformersModel
from floss_sim.vectors.adapter_layout import layout_of
from floss_sim.vectors.layout import SEEDS, Layout
from floss_sim.vectors.top_k import Vector


class SeedModel(FlatModel):
    """A model whose vector is the scalars along K seeded directions of all its weights.

    Attributes:
        weights: The weights, float32 of shape (M,), on the device.

    Args:
        model: The backbone with its head.
        whole: Layout of all weights.
        task: The task.
        seeds: Number of directions, K.
        seed: The run's seed.
        device: Device of the model.
        bf16: Whether the forward pass runs under bfloat16 autocast.
    """

    def __init__(
        self,
        model: TransformersModel,
        whole: Layout,
        task: Task,
        seeds: int,
        seed: int,
        device: torch.device,
        *,
        bf16: bool = False,
    ) -> None:
        super().__init__(model, whole, reader(task), DropoutStreams(device), device, bf16=bf16)
        self._seed = seed
        initial_M = torch.from_numpy(self.base + whole.initial_vector(seed))
        self._initial = initial_M.to(device)
        self.base = np.zeros(seeds, dtype=np.float32)
        self._loaded = b""
        self._at = self._initial

    @property
    def weights(self) -> torch.Tensor:
        """The weights, float32 of shape (M,); writing to them changes the model."""
        return self.flat.data

    def direction(self, number: int) -> torch.Tensor:
        """Return z_k of a number k, float32 of shape (M,), on the device."""
        draw = torch.Generator().manual_seed(stream_seed(self._seed, "direction", number) % 2**63)
        return torch.randn(len(self._initial), generator=draw).to(self.device)

    def load(self, vector_N: Vector) -> None:
        """Set the weights to those of some scalars, float32 of shape (K,)."""
        if vector_N.tobytes() != self._loaded:
            at = self._initial.clone()
            for number in np.flatnonzero(vector_N):
                at.add_(self.direction(int(number)), alpha=float(vector_N[number]))
            self._loaded, self._at = vector_N.tobytes(), at
        self.weights.copy_(self._at)


def build_seed_model(config: RunConfig, device: torch.device) -> SeedModel:
    """Return the model of a run with zeroth-order training on a device.

    Raises:
        TaskError: The backbone cannot be loaded.
        LayoutError: The backbone's parameters do not match the layout.
    """
    task, zeroth_order = config.task, config.method.zeroth_order
    seeds = zeroth_order.seeds if zeroth_order else 1
    whole = layout_of(
        task.backbone_config, task.kind, task.labels, trains="full", settings=AdapterSettings()
    )
    bf16 = config.client.precision == "bf16"
    model = load_backbone(task).eval()
    return SeedModel(model, whole, task, seeds, config.seed, device, bf16=bf16)


def build_model(config: RunConfig, device: torch.device) -> FlatModel:
    """Return the model of any run on a device: PEFT's, the whole one, or one of directions.

    Raises:
        TaskError: The backbone cannot be loaded.
        LayoutError: The backbone's parameters do not match the layout.
    """
    has_seeds = any(tensor.kind == SEEDS for tensor in config.layout.tensors)
    return (build_seed_model if has_seeds else build_flat_model)(config, device)
