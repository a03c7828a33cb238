"""Interleaved turns of peers, the bank's with CUDA graphs and without; ``gpu.py`` takes them."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from benchmark import Clock

from floss_sim import RunConfig
from floss_sim.training.bank.model import Bank, build_bank
from floss_sim.training.bank.step import Step
from floss_sim.training.gpu.cuda_graphs import StepGraphs
from floss_sim.training.learners import build

Play = Callable[[], None]
Row = dict[str, Any]


@contextmanager
def graphs(on: bool) -> Iterator[Counter[str]]:
    """Let steps be replayed meanwhile or not; count those taken and those replayed."""
    counts: Counter[str] = Counter()

    def take(bank: Bank, step: Step) -> None:
        if on and isinstance(bank.player, StepGraphs):
            before = bank.player.replayed
            bank.player.run(step)
            counts["replayed"] += bank.player.replayed - before
        else:
            step.run()
        counts["steps"] += 1

    with patch.object(Bank, "take", take):
        yield counts


class Rehearsal:
    """Stands for a recorder of CUDA graphs in the dry run: plays the call again."""

    def record(self, play: Callable[[], None]) -> Callable[[], None]:
        """Return the call."""
        return play


@contextmanager
def rehearsed(really: bool) -> Iterator[None]:
    """Let banks that are built meanwhile replay steps where there is no GPU, too."""
    with ExitStack() as patches:
        if really:

            def made(config: RunConfig, device: torch.device) -> Bank:
                return build_bank(config, device, StepGraphs(Rehearsal(), 10**9))

            patches.enter_context(patch.object(build, "_build_bank", made))
            build.open_side_by_side.cache_clear()  # its banks may have been built before
            patches.callback(build.open_side_by_side.cache_clear)
        yield


def seconds_of(play: Callable[[], None], device: str) -> float:
    """Return how long a call takes, the device waited for."""
    clock = Clock(device)
    began = clock.now()
    play()
    return clock.now() - began


def variants(playing: dict[str, Play]) -> dict[tuple[str, str], Play]:
    """Return peers by name, and by whether graphs are on where they matter."""
    return {
        (name, way): play
        for name, play in playing.items()
        for way in (("on", "off") if name == "bank" else ("",))
    }


def turns_of(playing: dict[str, Play], device: str, turns: int) -> dict[tuple[str, str], Row]:
    """Return what interleaved turns took: medians, ratios of the same turn, peaks of memory."""
    peers = variants(playing)
    times: dict[tuple[str, str], list[float]] = {peer: [] for peer in peers}
    rows: dict[tuple[str, str], Row] = {}
    for turn in range(turns + 1):
        for peer, play in peers.items():
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            with graphs(peer[1] != "off") as counts:
                seconds = seconds_of(play, device)
            if turn:  # the first one warms up, and records graphs
                times[peer].append(seconds)
            peak = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else 0.0
            share = counts["replayed"] / counts["steps"] if peer[1] else ""
            rows[peer] = {"learner": peer[0], "graphs": peer[1], "replayed": share}
            rows[peer]["peak_mib"] = peak
    first = times["bank", "on"]
    for peer, seconds in times.items():
        ratios = [a / b for a, b in zip(seconds, first, strict=True)]
        rows[peer]["seconds"] = statistics.median(seconds)
        rows[peer]["over_bank"] = statistics.median(ratios)
    return rows
