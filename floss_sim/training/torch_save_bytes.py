"""What torch itself makes of a sparse update: the bytes of its own files."""

from __future__ import annotations

import io

import torch

from floss_sim.vectors.top_k import Mask, Vector


def torch_bytes(values_N: Vector, mask_N: Mask) -> dict[str, int]:
    """Return the bytes of ``torch.save`` for the values under a mask: sparse and dense.

    Args:
        values_N: float32, shape (N,).
        mask_N: bool, likewise; the dense tensor is zero outside it.
    """
    dense_N = torch.from_numpy(values_N * mask_N)
    positions_1K = torch.from_numpy(mask_N).nonzero().T
    sparse_N = torch.sparse_coo_tensor(
        positions_1K, torch.from_numpy(values_N[mask_N]), dense_N.shape, check_invariants=True
    )
    return {
        "torch.save, sparse COO": _saved_bytes(sparse_N),
        "torch.save, dense": _saved_bytes(dense_N),
    }


def _saved_bytes(tensor: torch.Tensor) -> int:
    file = io.BytesIO()
    torch.save(tensor, file)
    return file.tell()
