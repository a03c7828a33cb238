"""The frozen backbone with PEFT's LoRA adapters, its trained entries bound to one flat vector."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import AutoModelForImageClassification, PretrainedConfig
from transformers import logging as transformers_logging

from floss_sim.config import RunConfig
from floss_sim.errors import LayoutError, TaskError
from floss_sim.layout import HEAD_BIAS, HEAD_WEIGHT, LORA_A, Layout, TensorSpec
from floss_sim.sparsity import Vector
from floss_sim.tasks import Task

# Module names of the installed transformers version, by model family and role.
_MODULES: Mapping[str, Mapping[str, str]] = {
    "vit": {
        "q": "attention.q_proj",
        "k": "attention.k_proj",
        "v": "attention.v_proj",
        "o": "attention.o_proj",
        "mlp_in": "mlp.fc1",
        "mlp_out": "mlp.fc2",
    },
}
_HEADS: Mapping[str, str] = {"vit": "classifier"}
_LAYERS: Mapping[str, str] = {"vit": "vit.layers"}


class FlatModel:
    """A PEFT model whose trained parameters are views into one flat vector, as are their grads.

    ``flat`` has shape (N,) in the layout's order: writing into it changes the model, and after a
    backward pass ``flat.grad`` holds the whole gradient.
    """

    def __init__(self, model: PeftModel, layout: Layout, device: torch.device) -> None:
        self.model = model.to(device)
        self.layout = layout
        self.flat = nn.Parameter(torch.zeros(layout.entries, device=device))
        self.flat.grad = torch.zeros_like(self.flat)
        parameters = dict(model.named_parameters())
        names = parameter_names(layout, model.config)
        for tensor in layout.tensors:
            parameter = parameters.get(names[tensor.name])
            if parameter is None or tuple(parameter.shape) != tensor.shape:
                raise LayoutError(
                    f"the backbone has no parameter {names[tensor.name]!r} of shape {tensor.shape}"
                )
            where = layout.slices[tensor.name]
            parameter.data = self.flat.data[where].view(tensor.shape)
            parameter.grad = self.flat.grad[where].view(tensor.shape)

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return self.flat.device

    def set_training(self, on: bool) -> None:
        """Switch dropout on or off; costs nothing where the mode is right already."""
        if self.model.training != on:
            self.model.train(on)

    def load(self, vector_N: Vector) -> None:
        """Copy a vector, float32 of shape (N,), into the model."""
        self.flat.data.copy_(torch.from_numpy(vector_N))

    def vector(self) -> Vector:
        """Return a copy of the model's vector, float32 of shape (N,)."""
        return self.flat.detach().cpu().numpy().copy()

    def logits(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the logits, shape (examples, classes), of pixels (examples, C, H, W)."""
        logits: torch.Tensor = self.model(pixel_values=pixels).logits
        return logits


def parameter_names(layout: Layout, config: PretrainedConfig) -> dict[str, str]:
    """Return PEFT's parameter name of each tensor of a layout."""
    family = config.model_type
    head = f"base_model.model.{_HEADS[family]}.modules_to_save.default"

    def name(tensor: TensorSpec) -> str:
        if tensor.kind in (HEAD_WEIGHT, HEAD_BIAS):
            return f"{head}.{'weight' if tensor.kind == HEAD_WEIGHT else 'bias'}"
        _, layer, role, _ = tensor.name.split(".")
        module = f"base_model.model.{_LAYERS[family]}.{int(layer)}.{_MODULES[family][role]}"
        return f"{module}.{'lora_A' if tensor.kind == LORA_A else 'lora_B'}.default.weight"

    return {tensor.name: name(tensor) for tensor in layout.tensors}


def build_peft_model(task: Task, rank: int) -> PeftModel:
    """Return the task's backbone with new adapters of a rank, in evaluation mode.

    Weights are read as safetensors from the task's folder; no remote code is trusted.

    Raises:
        TaskError: The backbone cannot be loaded.
    """
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # a new head is what we ask for
    transformers_logging.disable_progress_bar()
    try:
        backbone = AutoModelForImageClassification.from_pretrained(
            task.backbone_path,
            num_labels=task.data.classes,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise TaskError(f"task {task.name!r}: cannot load {task.backbone_path}: {reason}") from None
    finally:
        transformers_logging.set_verbosity(verbosity)
    family = backbone.config.model_type
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT advises on hub ids that a local backbone lacks
        model = get_peft_model(
            backbone,
            LoraConfig(
                r=rank,
                lora_alpha=task.lora.alpha,
                lora_dropout=task.lora.dropout,
                target_modules=[_MODULES[family][role] for role in task.lora.targets],
                modules_to_save=[_HEADS[family]],
            ),
        )
    return model.eval()


def build_flat_model(config: RunConfig, device: torch.device) -> FlatModel:
    """Return a run's model on a device, its vector zero.

    Raises:
        TaskError: The backbone cannot be loaded.
        LayoutError: The backbone's parameters differ from the layout.
    """
    return FlatModel(build_peft_model(config.task, config.rank), config.layout, device)
