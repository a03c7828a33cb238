"""What makes a GPU compute the same bits again: torch has to be told, once for a process.

Left alone, a GPU's backward pass of attention adds up in the order in which its blocks come to an
end, where a text or an image has more than some 64 tokens: two runs of one seed drift apart, and
neither a replayed step nor a shared pass could be proved. On a CPU nothing needs to be told.
"""

from __future__ import annotations

import os

import torch

_WORKSPACES = "CUBLAS_WORKSPACE_CONFIG"  # read by cuBLAS, and by torch before 2.13, at first use


def make_deterministic(device: torch.device) -> None:
    """Have a GPU repeat its bits, and compute float32 as such; before anything is computed there.

    An operation that has no fixed order is an error from then on.
    """
    if device.type != "cuda":
        return
    os.environ.setdefault(_WORKSPACES, ":4096:8")
    torch.use_deterministic_algorithms(True)  # only to warn would leave attention as it is
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.allow_tf32 = False  # of products it is off by default, of images not
