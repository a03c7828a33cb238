"""Our own code on the task: the whole learner in a simulated network, or one batched pass alone.

``--learner pass`` (the default) is the batched pass and a mean, without messages, as the plain loop
has none. ``--learner whole`` is what ``floss-sim run`` does in a round: the download and every
client's upload are really encoded and decoded (all entries, float32, compressed without loss), the
network is simulated, the clients train in one pass, and the server takes a FedAvg step. Cohorts and
batches of the whole learner are drawn from its own named streams; of the pass they are the task's.
"""

from __future__ import annotations

import argparse
from functools import cached_property
from importlib.metadata import version
from itertools import islice, pairwise
from types import SimpleNamespace
from typing import Any

import banked
import numpy as np
import task
import torch

from floss_sim import RunConfig, load_profile, run
from floss_sim.families.operations import Operations
from floss_sim.methods import method_from_name
from floss_sim.network.devices.local_work import LocalWork
from floss_sim.tasks.sections import ClientSection, PartitionSection, ServerSection
from floss_sim.training.bank.batched_sgd import Party, train_together
from floss_sim.training.learners.bank_learner import BankLearner
from floss_sim.training.local_sgd import Work
from floss_sim.vectors.layout import Layout

LOCAL = ClientSection(
    learning_rate=task.LEARNING_RATE, momentum=0, batch_size=task.BATCH, epochs=1
)  # fmt: skip


class Config(RunConfig):
    """A run of the MLP, whose layout no backbone's config describes."""

    @cached_property
    def layout(self) -> Layout:
        """The MLP's."""
        return banked.layout()

    @cached_property
    def work(self) -> LocalWork:
        """Two products for each weight, and twice as many on the way back."""
        forward = 2.0 * sum(fan_in * fan_out for fan_in, fan_out in pairwise(task.WIDTHS))
        return LocalWork(Operations(forward, 2 * forward), task.BATCH)

    @cached_property
    def clients(self) -> tuple[np.ndarray, ...]:
        """Twenty neighbours each."""
        return tuple(np.arange(task.CLIENTS * task.EXAMPLES).reshape(task.CLIENTS, -1))


def examples() -> tuple[np.ndarray, np.ndarray]:
    """Return all clients' examples, one client after another."""
    x, y = task.clients()
    return x.reshape(-1, task.WIDTHS[0]), y.ravel()


def config() -> Config:
    """Return the task as a run: dense FedAvg."""
    content = SimpleNamespace(train=examples(), validation=task.held_out())
    sections: Any = SimpleNamespace(model_dump=lambda **_: {})
    named = SimpleNamespace(
        name="mlp", kind="image-classification", labels=task.WIDTHS[-1],
        content=content, preprocess=sections, normalisation=None,
    )  # fmt: skip
    fleet = PartitionSection(clients=task.CLIENTS, law="iid")
    server = ServerSection(optimizer="fedavg", learning_rate=1, cohort=task.COHORT)
    return Config(named, method_from_name("head"), 1, 0, fleet, LOCAL, server)


def whole(clock: task.Clock) -> np.ndarray:
    """Run rounds as the product does; return the last vector."""
    chosen = config()
    learner = BankLearner(chosen, banked.bank_model(), task.COHORT)
    begin = learner.snapshot()
    begin.tensors["P"] = banked.first_vector()
    learner.restore(begin)
    run(
        chosen, load_profile("paper-200-20"), learner, rounds=clock.last, eval_every=10**6,
        on_round=lambda row: clock.after(row["round"]),
    )  # fmt: skip
    return learner.snapshot().tensors["P"]


def passes(clock: task.Clock) -> np.ndarray:
    """Train one cohort after another and take means; return the last vector."""
    model, server_N = banked.bank_model(), banked.first_vector()
    x, y = map(torch.from_numpy, examples())
    for number, cohort in enumerate(islice(task.cohorts(), clock.last), 1):
        works = [Work(server_N, None, batches(client), 0) for client in cohort]
        server_N = np.mean(train_together([Party(model, x, y, LOCAL, works)])[0].numpy(), axis=0)
        clock.after(number)
    return server_N


def batches(client: int) -> tuple[np.ndarray, ...]:
    """Return a client's batches, as positions among all examples."""
    begin = client * task.EXAMPLES
    return tuple(np.arange(begin, begin + task.EXAMPLES).reshape(-1, task.BATCH))


def main() -> None:
    """Train, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--learner", choices=("whole", "pass"), default="pass")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    clock = task.Clock(chosen.rounds)
    vector_N = (whole if chosen.learner == "whole" else passes)(clock)
    versions = {"floss-sim": version("floss-sim"), "torch": torch.__version__}
    clock.report(versions, banked.weights_of(vector_N))


if __name__ == "__main__":
    main()
