"""Seconds of selecting, encoding and decoding, beside torch: speed.csv, large.csv.

    python experiments/wire/speed.py                        # both files
    python experiments/wire/speed.py --density 1/16         # one density, printed as JSON
    python experiments/wire/speed.py --large 1/16           # 100,000,000 entries, printed as JSON
    python experiments/wire/speed.py --profile fp16         # where encoding spends its time

One thread. What is compared is measured in turns, in one run. Values are normal: *alike*, so that
positions are uniform, or *uneven*, each rank of an adapter with a scale of its own.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import json
import pstats
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from tables import VIT_ENTRIES, Row, layout_of, normal_update, write

from floss_sim.vectors.density import kept_count, parse_density
from floss_sim.vectors.layout import Layout
from floss_sim.vectors.top_k import Mask, Vector, top_k_mask
from floss_sim.wire import decode, encode

LARGE = 100_000_000
REPETITIONS, LARGE_REPETITIONS = 60, 3
DENSITIES, LARGE_DENSITIES = ("1/4", "1/16"), ("1/16", "1/64")
CODES = ("fp32", "fp16", "int8", "tail")
GOALS_MS = {"top-k": 1, "encode": 3, "decode": 5}
MB = 1e6
Key = tuple[str, str]  # the step, and what does it
Jobs = dict[Key, Callable[[], object]]


def updates(layout: Layout) -> Mapping[str, Vector]:
    """Return values that are alike, and values whose rows have scales of their own."""
    alike_N, _ = normal_update(layout.entries, 1.0)
    scales_N = np.repeat(
        np.random.default_rng(1).lognormal(0, 1, layout.row_sizes.size), layout.row_sizes
    )
    uneven_N = alike_N.copy()
    order_N = layout.row_order
    uneven_N[slice(None) if order_N is None else order_N] *= scales_N.astype(np.float32)
    return {"alike": alike_N, "uneven": uneven_N}


def in_turns(jobs: Mapping[Key, Callable[[], object]], repetitions: int) -> Mapping[Key, Row]:
    """Return each job's milliseconds: best and median by the clock, and median of the processor.

    The first turn warms up.
    """
    taken: dict[Key, list[tuple[float, float]]] = {key: [] for key in jobs}
    for _ in range(repetitions + 1):
        for key, job in jobs.items():
            began, cpu_s = time.perf_counter(), time.process_time()
            job()
            taken[key].append((time.perf_counter() - began, time.process_time() - cpu_s))
    return {key: _summary(*zip(*pairs[1:], strict=True)) for key, pairs in taken.items()}


def _summary(wall_s: Sequence[float], cpu_s: Sequence[float]) -> Row:
    found = {"best_ms": min(wall_s), "median_ms": median(wall_s), "cpu_ms": median(cpu_s)}
    return {name: round(1e3 * seconds, 3) for name, seconds in found.items()}


def measure(density: str, repetitions: int = REPETITIONS) -> list[Row]:
    """Return the milliseconds of every step at one density, and torch's."""
    layout, rows = layout_of(VIT_ENTRIES), []
    count = kept_count(VIT_ENTRIES, parse_density(density))
    for kind, values_N in updates(layout).items():
        mask_N = top_k_mask(values_N, count)
        jobs = {**torch_jobs(values_N, mask_N), **our_jobs(layout, values_N, mask_N)}
        for (step, what), found in zip(jobs, in_turns(jobs, repetitions).values(), strict=True):
            goal = "" if what.startswith("torch") else GOALS_MS[step]
            said = {"density": density, "values": kind, "step": step, "what": what}
            rows.append({**said, **found, "goal_ms": goal})
    return rows


def our_jobs(layout: Layout, values_N: Vector, mask_N: Mask) -> Jobs:
    """Return selecting, encoding and decoding."""
    count = int(mask_N.sum())
    jobs: Jobs = {("top-k", "top_k_mask"): lambda: top_k_mask(values_N, count)}
    for code in CODES:
        draw = np.random.default_rng(0)
        blob = encode(layout, values_N, mask_N, values=code, draw=draw)
        jobs["encode", code] = lambda code=code, draw=draw: encode(
            layout, values_N, mask_N, values=code, draw=draw
        )
        jobs["decode", code] = lambda blob=blob: decode(layout, blob)
    return jobs


def torch_jobs(values_N: Vector, mask_N: Mask) -> Jobs:
    """Return the same by torch: a sparse tensor from a mask, saved and loaded."""
    import torch

    torch.set_num_threads(1)
    magnitude, count = torch.from_numpy(np.abs(values_N)), int(mask_N.sum())
    tensor, buffer = torch.from_numpy(values_N), io.BytesIO()

    def save(into: io.BytesIO) -> None:
        positions = torch.from_numpy(np.flatnonzero(mask_N))
        sparse = torch.sparse_coo_tensor(
            positions[None], tensor[positions], tensor.shape, check_invariants=False
        )
        torch.save(sparse, into)

    save(buffer)
    return {
        ("top-k", "torch.topk"): lambda: torch.topk(magnitude, count, sorted=False),
        ("encode", "torch.save"): lambda: save(io.BytesIO()),
        ("decode", "torch.load"): lambda: torch.load(
            io.BytesIO(buffer.getvalue()), weights_only=True
        ).to_dense(),
    }


def measure_large(density: str) -> list[Row]:
    """Return seconds and peak memory of this process at 100,000,000 entries."""
    layout = layout_of(LARGE)
    values_N = np.random.default_rng(0).standard_normal(LARGE, dtype=np.float32)
    said = {"entries": LARGE, "density": density}
    count = kept_count(LARGE, parse_density(density))
    mask_N, found = watched(lambda: top_k_mask(values_N, count))
    rows = [{**said, "values": "", "step": "top-k", **found}]
    for code in ("fp32", "fp16"):
        draw = np.random.default_rng(0)
        blob, found = watched(
            lambda code=code, draw=draw: encode(layout, values_N, mask_N, values=code, draw=draw)
        )
        rows.append({**said, "values": code, "step": "encode", **found})
        (decoded_N, _), found = watched(lambda blob=blob: decode(layout, blob))
        rows.append({**said, "values": code, "step": "decode", **found})
        if code == "fp32" and not np.array_equal(decoded_N, np.where(mask_N, values_N, 0)):
            raise AssertionError("fp32 is not what it was")
        del decoded_N
    held_mb = round((values_N.nbytes + mask_N.nbytes) / MB)
    return [{**row, "held_mb": held_mb} for row in rows]


def watched(job: Callable[[], Any]) -> tuple[Any, Row]:
    """Return what a job returns, its seconds, and the largest resident memory meanwhile."""
    seconds, result = [], None
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # forget the peak so far
    for _ in range(LARGE_REPETITIONS):
        result = None
        began = time.perf_counter()
        result = job()
        seconds.append(time.perf_counter() - began)
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return result, {
        "best_s": round(min(seconds), 2),
        "median_s": round(median(seconds), 2),
        "peak_mb": round(int(peak) * 1024 / MB),
    }


def hot_spots(code: str) -> None:
    """Print where encoding and decoding spend their time at a density of 1/4 and 1/16."""
    layout = layout_of(VIT_ENTRIES)
    for kind, values_N in updates(layout).items():
        for density in DENSITIES:
            mask_N = top_k_mask(values_N, kept_count(VIT_ENTRIES, parse_density(density)))
            draw, profile = np.random.default_rng(0), cProfile.Profile()
            blob = encode(layout, values_N, mask_N, values=code, draw=draw)
            profile.enable()
            for _ in range(20):
                encode(layout, values_N, mask_N, values=code, draw=draw)
                decode(layout, blob)
            profile.disable()
            print(f"\n{kind}, density {density}, {code}: 20 times")
            pstats.Stats(profile).sort_stats("tottime").print_stats(14)


def in_a_process(*options: str) -> list[Row]:
    """Return what this script measures in a process of its own."""
    command = [sys.executable, __file__, *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    rows: list[Row] = json.loads(done.stdout)
    return rows


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--density")
    parser.add_argument("--large")
    parser.add_argument("--profile")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    said = parser.parse_args()
    if said.profile:
        hot_spots(said.profile)
    elif said.large:
        print(json.dumps(measure_large(said.large)))
    elif said.density:
        print(json.dumps(measure(said.density, said.repetitions)))
    else:
        write("speed.csv", [row for d in DENSITIES for row in in_a_process("--density", d)])
        write("large.csv", [row for d in LARGE_DENSITIES for row in in_a_process("--large", d)])


if __name__ == "__main__":
    main()
