"""Bytes of every code for uniform masks of normal values, beside the floor and other formats.

python experiments/wire/sizes.py                     # indices.csv, payloads.csv, errors.csv
python experiments/wire/sizes.py --large             # the same at 100,000,000 entries
python experiments/wire/sizes.py --entries 589824    # one size, printed as JSON
"""

from __future__ import annotations

import argparse
import io
import json
import sys

import numpy as np
import torch
from tables import (
    DENSITIES,
    VIT_ENTRIES,
    Row,
    floor_bytes,
    layout_of,
    normal_update,
    read,
    sections,
    write,
)

from floss_sim.vectors.layout import Layout
from floss_sim.vectors.top_k import Mask, Vector
from floss_sim.wire import VALUE_CODES, decode, encode

ENTRIES = (10_000, VIT_ENTRIES, 10_000_000)
LARGE = 100_000_000
MASKED = ("bitmap", "rice", "range", "tensors", "rows")  # of positions that nobody knows


def measure(entries: int) -> tuple[list[Row], list[Row]]:
    """Return the index bytes and the payloads of every code at every density."""
    layout, indices, payloads = layout_of(entries), [], []
    for label, density in DENSITIES.items():
        values_N, mask_N = normal_update(entries, density)
        count = int(mask_N.sum())
        said = {"entries": entries, "density": label, "kept": count}
        floor = {"floor": round(floor_bytes(entries, count), 1)}
        indices.append({**said, **floor, **index_bytes(layout, values_N, mask_N)})
        payloads.append({**said, **payload_bytes(layout, values_N, mask_N)})
        print(indices[-1], payloads[-1], file=sys.stderr)
    return indices, payloads


def index_bytes(layout: Layout, values_N: Vector, mask_N: Mask) -> Row:
    """Return the bytes of each index code and of the one that is chosen."""
    chosen = sections(encode(layout, values_N, mask_N, values="sign"))[0]
    codes = {
        name: sections(encode(layout, values_N, mask_N, values="sign", index=name))[0]
        for name in MASKED
    }
    return {"chosen": chosen, **codes}


def payload_bytes(layout: Layout, values_N: Vector, mask_N: Mask) -> Row:
    """Return for every value code the payload, and its ratio to the floor and the values.

    Beside it what others take for the same update.
    """
    entries, count = layout.entries, int(mask_N.sum())
    floor, row = floor_bytes(entries, count), {}
    for name in VALUE_CODES:
        draw = np.random.default_rng(0)
        index, values = sections(encode(layout, values_N, mask_N, values=name, draw=draw))
        row[name] = index + values
        row[f"{name}_bits"] = round(8 * (index + values) / count, 2)
        row[f"{name}_ratio"] = round((index + values) / (floor + values), 5)
    sent_K, positions_K = torch.from_numpy(values_N[mask_N]), np.flatnonzero(mask_N)
    sparse = torch.sparse_coo_tensor(
        torch.from_numpy(positions_K[None]), sent_K, (entries,), check_invariants=False
    )
    dense = torch.from_numpy(np.where(mask_N, values_N, np.float32(0)))
    return {
        **row, "torch_coo": saved_bytes(sparse), "torch_dense": saved_bytes(dense),
        "coo32_fp32": 8 * count, "bitmap_fp32": -(-entries // 8) + 4 * count,
    }  # fmt: skip


def saved_bytes(tensor: torch.Tensor) -> int:
    """Return what ``torch.save`` writes."""
    buffer = io.BytesIO()
    torch.save(tensor, buffer)
    return buffer.getbuffer().nbytes


def errors(entries: int = VIT_ENTRIES, density: float = 1 / 16) -> list[Row]:
    """Return the mean squared error of each value code, relative to the mean square."""
    layout = layout_of(entries)
    values_N, mask_N = normal_update(entries, density)
    sent_K, rows = values_N[mask_N].astype(np.float64), []
    for name, code in VALUE_CODES.items():
        draw = np.random.default_rng(0)
        blob = encode(layout, values_N, mask_N, values=name, draw=draw)
        error_K = decode(layout, blob)[0][mask_N] - sent_K
        rows.append(
            {
                "values": name, "kind": code.kind,
                "bits": round(8 * sections(blob)[1] / sent_K.size, 3),
                "relative_error": float(f"{(error_K**2).mean() / (sent_K**2).mean():.3g}"),
            }
        )  # fmt: skip
    return rows


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--entries", type=int)
    said = parser.parse_args()
    if said.entries:
        print(json.dumps(measure(said.entries)))
        return
    found = [measure(entries) for entries in ((LARGE,) if said.large else ENTRIES)]
    for name, rows in zip(("indices.csv", "payloads.csv"), zip(*found, strict=True), strict=True):
        new = [row for part in rows for row in part]
        sizes = {str(row["entries"]) for row in new}
        kept = [row for row in read(name) if row["entries"] not in sizes]
        write(name, sorted(kept + new, key=lambda row: int(row["entries"])))
    if not said.large:
        write("errors.csv", errors())


if __name__ == "__main__":
    main()
