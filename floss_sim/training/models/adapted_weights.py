"""Weights of adapted modules that the server changes: bound to a vector, merged, never trained.

The product B A of an adapter is a matrix (out, in). ``nn.Linear`` stores its weight in this order.
A convolution splits its input side into channels and kernel. GPT-2's ``Conv1D`` and embeddings
store (in, out).
"""

from __future__ import annotations

from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from floss_sim.errors import LayoutError
from floss_sim.training.models.parameter_names import TransformersModel
from floss_sim.vectors.layout import TensorSpec


def bind_frozen(
    model: TransformersModel, tensor: TensorSpec, parameter: nn.Parameter, values: Tensor
) -> None:
    """Make a weight a view into a vector that has its values; it gets no gradient.

    Args:
        model: PEFT's model.
        tensor: The weight as the layout lists it, (out, in).
        parameter: The weight in the model.
        values: Part of the flat vector, (out * in,).

    Raises:
        LayoutError: Several modules share the weight, so that none has it to itself to change.
    """
    users = {
        path: module
        for path, module in model.named_modules()
        if any(own is parameter for own in module.parameters(recurse=False))
    }
    if len(users) > 1:
        paths = (path.removeprefix("base_model.model.") for path in users)
        first, second, *_ = (path.removesuffix(".base_layer") for path in paths)
        raise LayoutError(
            f"the weight of {first!r} is also that of {second!r}, which a change of the backbone "
            "would change, too; valid: targets whose weights are their own"
        )
    turned = any(isinstance(module, Conv1D | nn.Embedding) for module in users.values())
    view = values.view(tensor.shape)
    view = view.t() if turned else view.view(parameter.shape)
    view.copy_(parameter.data)
    parameter.data = view


def merged_model(model: PeftModel) -> PreTrainedModel:
    """Return the backbone with the adapters merged into its weights and the head in its place."""
    for layer in model.modules():
        if isinstance(layer, LoraLayer):  # a weight that is a view cannot be saved
            weight = layer.get_base_layer().weight
            weight.data = weight.data.clone().contiguous()
    whole: PreTrainedModel = model.merge_and_unload()
    return whole
