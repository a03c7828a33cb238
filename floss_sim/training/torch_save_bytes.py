"""Size of an update saved with ``torch.save``, sparse COO and dense, to compare wire formats."""

from __future__ import annotations

import io

import torch

from floss_sim.vectors.top_k import Mask, Vector


def torch_bytes(values_N: Vector, mask_N: Mask) -> dict[str, int]:
    """Return the file size in bytes of the masked values, saved as a sparse and a dense tensor.

    Args:
        values_N: The update, float32 of shape (N,).
        mask_N: The entries to save, bool of shape (N,); the dense tensor is zero elsewhere.
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
