"""Messages beside the floor and other formats: sizes and memory are asserted, seconds printed.

make bench
"""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from places import EXPERIMENTS

from floss_sim.vectors.density import kept_count
from floss_sim.vectors.layout import WEIGHT, Layout, TensorSpec
from floss_sim.vectors.top_k import top_k_mask
from floss_sim.wire import VALUE_CODES, decode, encode

STUDY = EXPERIMENTS / "wire"
VIT_ENTRIES = 589_824  # rank 16 on q and v of ViT-B/16
MOST_BYTES_AN_ENTRY = 40  # 4 GB at 100,000,000 entries
Row = dict[str, Any]


def study(script: str, *options: str) -> Any:
    """Return what a script of the study prints, in a process of its own."""
    command = [sys.executable, str(STUDY / script), *options]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@lru_cache
def sizes(entries: int) -> tuple[list[Row], list[Row]]:
    """Return index bytes and payloads at six densities."""
    indices, payloads = study("sizes.py", "--entries", str(entries))
    return indices, payloads


@pytest.mark.parametrize("entries", [10_000, VIT_ENTRIES])
def test_a_payload_is_hardly_above_the_floor_and_its_values(entries: int):
    for row in sizes(entries)[1]:
        above = {code: row[f"{code}_ratio"] for code in VALUE_CODES}
        if entries >= 100_000 and row["kept"] >= 1000:
            assert max(above.values()) <= 1.005
        elif row["kept"] >= 150:
            assert max(above.values()) <= 1.02


def test_the_chosen_index_code_is_the_smallest():
    for row in sizes(VIT_ENTRIES)[0]:
        smallest = min(row[code] for code in ("bitmap", "rice", "range", "tensors", "rows"))
        assert row["chosen"] <= smallest + 2  # of plans, lengths are known but for one or two


def test_bits_per_kept_entry_at_a_sixteenth_and_beside_other_formats():
    _, payloads = sizes(VIT_ENTRIES)
    others = ("torch_coo", "torch_dense", "coo32_fp32", "bitmap_fp32")
    for row in payloads:
        ours = ", ".join(f"{code} {row[code]} ({row[f'{code}_bits']})" for code in VALUE_CODES)
        theirs = ", ".join(f"{name} {row[name]}" for name in others)
        print(f"\n{row['density']}: bytes (bits an entry): {ours}; {theirs}")
        assert row["fp32"] < min(row[name] for name in others)
    (row,) = (row for row in payloads if row["density"] == "1/16")
    assert row["fp32_bits"] <= 29
    assert row["fp16_bits"] <= 16.5


@pytest.mark.parametrize("density", ["1/4", "1/16"])
def test_seconds_beside_torch(density: str):
    for row in study("speed.py", "--density", density, "--repetitions", "15"):
        print(
            f"\n{row['density']} {row['values']}: {row['step']} {row['what']}: "
            f"best {row['best_ms']:.2f} ms, median {row['median_ms']:.2f} ms, "
            f"processor {row['cpu_ms']:.2f} ms",
            end="",
        )


def peak_bytes(job: Callable[[], object]) -> int:
    """Return the most that is allocated during a job, by what Python and numpy say."""
    tracemalloc.start()
    job()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("density", [1 / 2, 1 / 16])
def test_coding_takes_memory_by_the_entry_and_little_of_it(density: float):
    layout = Layout(tuple(TensorSpec(f"w{i}", (1000, 1000), WEIGHT) for i in range(4)))
    values_N = np.random.default_rng(0).standard_normal(layout.entries, dtype=np.float32)
    mask_N = top_k_mask(values_N, kept_count(layout.entries, density))
    blob = encode(layout, values_N, mask_N)
    for name, job in (
        ("encode", lambda: encode(layout, values_N, mask_N)),
        ("decode", lambda: decode(layout, blob)),
    ):
        taken = peak_bytes(job) / layout.entries
        print(f"\n{name} at density {density:g}: {taken:.1f} bytes an entry")
        assert taken <= MOST_BYTES_AN_ENTRY
