"""Memory bounds: number of clients whose activations fit in one training pass, by device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from floss_sim.families import family_of
from floss_sim.families.sizes import attention_heads

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


def clients_per_pass(config: RunConfig, device: str) -> int:
    """Return the number of clients in one pass: the largest power of two within the bounds."""
    fitting = _ACTIVATION_BYTES[device] // (config.client.batch_size * example_bytes(config))
    limited = max(1, min(fitting, MAX_CLIENTS[device]))
    return 1 << (limited.bit_length() - 1)


def example_bytes(config: RunConfig) -> int:
    """Return an upper bound on the bytes of activations stored for one example's backward pass.

    Counted in float32, for each token and layer: 12 activations of the model's width, 4 of the
    inner (MLP) width and, per head, 3 rows of attention weights. Next-token prediction adds the
    logits of each token three times.
    """
    backbone = config.task.backbone_config
    family = family_of(backbone)
    sizes = {name: size(backbone) for name, size in family.sizes.items()}
    tokens = min(sizes["positions"], config.task.preprocess.max_length or sizes["positions"])
    heads = attention_heads(backbone)
    layer = 12 * sizes["width"] + 4 * sizes["inner"] + 3 * heads * tokens
    logits = 0 if config.task.labels else 3 * sizes["words"]
    return 4 * tokens * (family.depth(backbone) * layer + logits)
