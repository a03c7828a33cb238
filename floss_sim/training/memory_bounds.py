"""Memory bounds: number of clients whose activations fit in one training pass, by device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from floss_sim.families import FAMILIES, IMAGES, Family, model_inputs
from floss_sim.families.model_table import CONV1D, LINEAR
from floss_sim.families.module_roles import layer_of
from floss_sim.families.sizes import attention_heads
from floss_sim.families.trained_model import sized_table

if TYPE_CHECKING:
    from floss_sim.runs.config import RunConfig

# bytes of activations in one pass, at most
_ACTIVATION_BYTES = {"cpu": 2**30, "cuda": 48 * 2**30, "mps": 4 * 2**30}
# clients in one pass, at most; on a CPU larger passes exceed the caches and are slower
MAX_CLIENTS = {"cpu": 32, "cuda": 512, "mps": 64}
# clients of several runs in one pass, at most
MAX_SHARED_CLIENTS = {**MAX_CLIENTS, "cpu": 24}
# runs that train side by side in a process, at most; on a CPU four of 5 clients fill a pass
MAX_RUNS = {"cpu": 4, "cuda": 64, "mps": 4}
_HEADS = 16  # heads of an attention of a family that is not known
_DEFAULT_TOKENS = 512  # of a text without a stated length


def clients_per_pass(config: RunConfig, device: str) -> int:
    """Return the number of clients in one pass: the largest power of two within the bounds."""
    fitting = _ACTIVATION_BYTES[device] // (config.client.batch_size * example_bytes(config))
    limited = max(1, min(fitting, MAX_CLIENTS[device]))
    return 1 << (limited.bit_length() - 1)


def example_bytes(config: RunConfig) -> int:
    """Return an upper bound on the bytes of activations stored for one example's backward pass.

    Counted in float32, for each token and layer: 12 activations of the model's width, 4 of the
    inner (MLP) width and, per head, 3 rows of attention weights. Next-token prediction adds the
    logits of each token three times. Of a family that is not known, twice the inputs and outputs of
    all linear modules of the layers count, and 3 rows of the attention weights of 16 heads for each
    layer.
    """
    family = FAMILIES.get(str(config.task.backbone_config["model_type"]))
    return _library_bytes(config) if family is None else _family_bytes(config, family)


def _family_bytes(config: RunConfig, family: Family) -> int:
    backbone = config.task.backbone_config
    sizes = {name: size(backbone) for name, size in family.sizes.items()}
    tokens = min(sizes["positions"], config.task.preprocess.max_length or sizes["positions"])
    heads = attention_heads(backbone)
    layer = 12 * sizes["width"] + 4 * sizes["inner"] + 3 * heads * tokens
    logits = 0 if config.task.labels else 3 * sizes["words"]
    return 4 * tokens * (family.depth(backbone) * layer + logits)


def _library_bytes(config: RunConfig) -> int:
    task = config.task
    table = sized_table(task.backbone_config, task.kind, task.labels)
    inputs = model_inputs(task.backbone_config, task.kind)
    tokens = task.preprocess.max_length or _DEFAULT_TOKENS
    if task.kind == IMAGES:
        tokens = inputs.image_tokens(task.preprocess.image_size)
    linear = [path for path, kind in table.modules.items() if kind in (LINEAR, CONV1D)]
    inside = [path for path in linear if layer_of(path) is not None]
    widths = sum(sum(table.weight_shape(path)) for path in inside)
    layers = len({layer_of(path) for path in inside})
    logits = 3 * inputs.words * (task.labels == 0)
    return 4 * tokens * (2 * widths + 3 * _HEADS * layers * tokens + logits)
