"""A rung of a search on a GPU: candidates side by side in one pass; ``gpu.py`` measures it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path

from floss_sim import RunConfig, RunRecord, floss, load_profile, load_task, open_learner, run
from floss_sim.protocol import Job
from floss_sim.runs.lockstep import run_steps
from floss_sim.training import open_side_by_side
from floss_sim.training.learners.torch_learner import TorchLearner

RANKS, DENSITIES = (1, 4, 16, 32), (1.0, 1 / 4, 1 / 16, 1 / 64)


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
    network, loop = load_profile("paper-200-20"), open_side_by_side(device)
    together = [open_learner(c, device, beside=loop, diagnose=False) for c in configs]
    ranked = {config.rank: config for config in configs}.values()
    in_turn = {
        kind: [open_learner(c, device, learner=kind, diagnose=False) for c in ranked]
        for kind in ("bank", "sequential")
    }
    every = (*together, *in_turn["bank"], *in_turn["sequential"])
    begin = {learner: learner.snapshot() for learner in every}

    def steps(
        config: RunConfig, learner: TorchLearner, clock: Callable[[], float]
    ) -> Generator[Job, None, RunRecord]:
        learner.restore(begin[learner])
        made = run_steps(config, network, learner, rounds=rounds, eval_every=rounds, clock=clock)
        return (yield from made)

    def play_together() -> None:
        parts = enumerate(zip(configs, together, strict=True))
        for result in loop.finish([(Path(str(n)), partial(steps, *part)) for n, part in parts]):
            if isinstance(result, Exception):
                raise result

    def play_in_turn(kind: str) -> None:
        for config, learner in zip(ranked, in_turn[kind], strict=True):
            learner.restore(begin[learner])
            run(config, network, learner, rounds=rounds, eval_every=rounds)

    return {
        "bank": play_together,
        "bank in turn": partial(play_in_turn, "bank"),
        "sequential": partial(play_in_turn, "sequential"),
    }
