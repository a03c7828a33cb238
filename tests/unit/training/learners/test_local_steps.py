"""Local steps of a round: all of them are told, one after the other, by both learners."""

from __future__ import annotations

import math

import pytest

from floss_sim import RunConfig, load_profile, open_learner, run
from floss_sim.protocol.sampling import draw_cohort
from floss_sim.training.learners.local_steps import LocalSteps


def test_steps_are_counted_by_dispatch():
    steps = LocalSteps()
    assert (steps.done, steps.total) == (0, 0)
    steps.begin({3: 2, 4: 5})
    steps.advance([3, 4])
    steps.advance([4])
    assert (steps.done, steps.total) == (3, 7)
    steps.begin({4: 4})  # a smaller pass begins anew
    assert (steps.done, steps.total) == (1, 6)
    steps.forget(3)
    steps.forget(8)
    assert (steps.done, steps.total) == (0, 4)


@pytest.mark.parametrize("learner", ["bank", "sequential"])
def test_every_step_of_a_round_is_told(sparse_digits: RunConfig, learner: str):
    """The sums are those of the clients' examples, of batches of 16 and two epochs."""
    config = sparse_digits.with_(client={"epochs": 2})
    works: list[tuple[str, int, int]] = []
    opened = open_learner(config, "cpu", learner=learner)
    opened.on_work = lambda what, done, total: works.append((what, done, total))
    if learner == "bank":
        opened._chunk = 2  # of 5 clients: three passes
    run(config, load_profile("lte"), opened, rounds=2, eval_every=2)
    told, batch = works, config.client.batch_size
    for number in (1, 2):
        cohort = draw_cohort(config.seed, number, config.fleet.clients, config.server.cohort)
        total = sum(2 * math.ceil(len(config.clients[c]) / batch) for c in cohort.clients)
        end = told.index(("training", total, total)) + 1
        own, told = told[:end], told[end:]
        counts = [done for _, done, _ in own]
        assert {(what, all_) for what, _, all_ in own} == {("training", total)}
        assert counts == sorted(set(counts))
        assert counts[-1] == total
    assert told == [("evaluating", 0, 0)]
