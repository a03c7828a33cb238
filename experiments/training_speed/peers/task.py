"""The task that all peers learn: 100 clients of 20 made-up examples, and an MLP of 101,386 weights.

Everything is drawn by numpy from fixed seeds, so that each peer, in its own environment, begins
with the same weights, sees the same examples in the same batches and, where it lets us choose,
trains the same clients in the same rounds: then it ends at the same accuracy.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

CLIENTS, EXAMPLES, COHORT, BATCH = 100, 20, 10, 10
WIDTHS = (128, 256, 256, 10)
LEARNING_RATE = 0.1
NOISE = 3.5
WARM = 2  # rounds before the clock starts
Weights = list[np.ndarray]  # weight (out, in) and bias (out,) of each layer


def first_weights() -> Weights:
    """Return what every peer begins with, as torch would draw it."""
    draw, found = np.random.default_rng(0), []
    for fan_in, fan_out in pairwise(WIDTHS):
        bound = fan_in**-0.5
        found.append(draw.uniform(-bound, bound, (fan_out, fan_in)).astype(np.float32))
        found.append(draw.uniform(-bound, bound, fan_out).astype(np.float32))
    return found


def clients() -> tuple[np.ndarray, np.ndarray]:
    """Return the clients' examples, float32 (100, 20, 128), and classes, int64 (100, 20)."""
    x, y = _examples(1, CLIENTS * EXAMPLES)
    return x.reshape(CLIENTS, EXAMPLES, -1), y.reshape(CLIENTS, EXAMPLES)


def held_out() -> tuple[np.ndarray, np.ndarray]:
    """Return 2,000 other examples, float32 (2000, 128), and their classes."""
    return _examples(2, 2000)


def _examples(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw examples around ten fixed centres."""
    centres = np.random.default_rng(3).normal(size=(WIDTHS[-1], WIDTHS[0]))
    draw = np.random.default_rng(seed)
    y = draw.integers(0, WIDTHS[-1], count)
    return (centres[y] + NOISE * draw.normal(size=(count, WIDTHS[0]))).astype(np.float32), y


def cohorts() -> Iterator[list[int]]:
    """Yield the clients of one round after another."""
    draw = np.random.default_rng(4)
    while True:
        yield draw.choice(CLIENTS, COHORT, replace=False).tolist()


def accuracy(weights: Weights) -> float:
    """Return the share of held-out examples that an MLP of these weights gets right."""
    x, y = held_out()
    for weight, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        x = np.maximum(x @ weight.T + bias, 0)
    return float(((x @ weights[-2].T + weights[-1]).argmax(axis=1) == y).mean())


def rounds_wanted() -> int:
    """Return how many rounds the command line asks to time."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=40)
    return parser.parse_args().rounds


class Clock:
    """Wall and processor seconds of the rounds after the first ones."""

    def __init__(self, rounds: int) -> None:
        self.last = WARM + rounds
        self._rounds = rounds
        self._began = self._ended = (time.perf_counter(), time.process_time())

    def after(self, number: int) -> None:
        """Hear that a round, counted from 1, is over."""
        if number == WARM:
            self._began = (time.perf_counter(), time.process_time())
        elif number == self.last:
            self._ended = (time.perf_counter(), time.process_time())

    def report(self, versions: dict[str, str], weights: Weights, **more: Any) -> None:
        """Print what was measured as one line of JSON, the last of the output."""
        wall, processor = (b - a for a, b in zip(self._began, self._ended, strict=True))
        updates = self._rounds * COHORT
        said = {
            "updates_per_s": updates / wall,
            "updates_per_processor_s": updates / processor,
            "accuracy": accuracy(weights),
            "versions": versions,
        }
        print(json.dumps({**said, **more}))
