"""Runs that can train side by side, and an executor of this process."""

from __future__ import annotations

from concurrent.futures import Executor, Future

from floss_sim import RunConfig, dense, floss, load_task
from floss_sim.methods import method_from_name


class Inline(Executor):
    """Runs what it is given at once, in this process."""

    def submit(self, function, /, *arguments, **named):
        future: Future = Future()
        future.set_result(function(*arguments, **named))
        return future


def some_runs() -> list[RunConfig]:
    """Other ranks, densities, methods, seeds and cohorts of one task."""
    task = load_task("digits")
    tiers = method_from_name("floss", down_density=1 / 4, up_density=1 / 16, error_feedback=True)
    return [
        RunConfig.of(task, floss(1 / 4, 1 / 16), rank=2),
        RunConfig.of(task, dense(), rank=5, seed=3),
        RunConfig.of(task, method_from_name("ffa"), rank=4),
        RunConfig.of(task, tiers, rank=1).with_(server={"cohort": 3}),
        RunConfig.of(task, method_from_name("head"), rank=2),
        RunConfig.of(task, method_from_name("bitfit"), rank=2),
        RunConfig.of(task, method_from_name("full"), rank=2),  # trains client after client
    ]
