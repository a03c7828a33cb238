"""Deterministic CUDA kernels and full float32 in torch, switched on once per process.

By default the backward pass of attention on a GPU sums in the order in which its thread blocks
finish, for inputs of more than about 64 tokens. Two runs with the same seed then diverge, and a
replayed step or a batched pass cannot be checked for bit-identity. CPU kernels are deterministic
by default.
"""

from __future__ import annotations

import os

import torch

# environment variable that cuBLAS (and torch before 2.13) reads at its first use
_WORKSPACES = "CUBLAS_WORKSPACE_CONFIG"


def make_deterministic(device: torch.device) -> None:
    """Switch a GPU to deterministic kernels and full float32; do nothing on other devices.

    Call this before the first computation on the GPU. From then on torch raises an error for an
    operation that has no deterministic kernel.
    """
    if device.type != "cuda":
        return
    os.environ.setdefault(_WORKSPACES, ":4096:8")
    torch.use_deterministic_algorithms(True)  # warn_only would keep attention non-deterministic
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.allow_tf32 = False  # on by default for convolutions, off for matmul
