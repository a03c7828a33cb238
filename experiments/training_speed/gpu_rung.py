"""A rung of a search on a GPU: candidates side by side in one pass; ``gpu.py`` measures it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from floss_sim import RunConfig, floss, load_profile, load_task, open_learner, run
from floss_sim.training import join_side_by_side
from floss_sim.training.learners.torch_learner import TorchLearner

RANKS, DENSITIES = (1, 4, 16, 32), (1.0, 1 / 4, 1 / 16, 1 / 64)
STARTING_S = 0.02  # in which threads begin to wait for their turn


def candidates(precision: str, tiny: bool) -> list[RunConfig]:
    """Return 64 candidates on ``digits``, 5 clients each, or 4 that differ in all they can."""
    task = load_task("digits")
    pairs = [(down, up) for down in DENSITIES for up in DENSITIES]
    configs = [RunConfig.of(task, floss(*pair), rank=rank) for rank in RANKS for pair in pairs]
    chosen = configs[:: len(pairs) + 1] if tiny else configs
    return [config.with_(client={"precision": precision}) for config in chosen]


def rung_players(
    configs: list[RunConfig], device: str, rounds: int
) -> dict[str, Callable[[], None]]:
    """Return what plays rounds of all runs side by side, and of one run of each rank in turn."""
    network = load_profile("paper-200-20")

    def play(config: RunConfig, learner: TorchLearner) -> None:
        learner.restore(begin[learner])
        run(config, network, learner, rounds=rounds, eval_every=rounds)

    with join_side_by_side(device) as grid:
        together = [open_learner(c, device, grid=grid, diagnose=False) for c in configs]
    ranked = {config.rank: config for config in configs}.values()
    in_turn = [open_learner(c, device, learner="sequential", diagnose=False) for c in ranked]
    begin = {learner: learner.snapshot() for learner in (*together, *in_turn)}

    def play_together() -> None:
        gate = threading.Barrier(len(configs) + 1)

        def take_part(config: RunConfig, learner: TorchLearner) -> None:
            gate.wait()
            with join_side_by_side(device):
                play(config, learner)

        with ThreadPoolExecutor(len(configs)) as threads:
            with join_side_by_side(device):  # has the turn until all wait for theirs
                parts = list(zip(configs, together, strict=True))
                futures = [threads.submit(take_part, *part) for part in parts]
                gate.wait()
                time.sleep(STARTING_S)
            for future in futures:
                future.result()

    def play_in_turn() -> None:
        for config, learner in zip(ranked, in_turn, strict=True):
            play(config, learner)

    return {"bank": play_together, "sequential": play_in_turn}
