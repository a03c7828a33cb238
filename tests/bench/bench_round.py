"""What a round costs the host: work counts are asserted, ratios are printed.

make bench
"""

from __future__ import annotations

import statistics
import time
from collections import Counter

import pytest
import simpy

from floss_sim import RunConfig, floss, load_profile, load_task, open_learner, run
from floss_sim.methods import exchange
from floss_sim.training.learners import sequential_learner


def test_a_round_encodes_once_down_and_once_a_client_up(monkeypatch: pytest.MonkeyPatch):
    counts: Counter[str] = Counter()

    def counted(module, name):
        real = getattr(module, name)

        def call(*arguments, **named):
            counts[name] += 1
            return real(*arguments, **named)

        monkeypatch.setattr(module, name, call)

    counted(exchange, "encode")
    counted(exchange, "decode")
    counted(sequential_learner, "train_locally")
    config = RunConfig.of(load_task("digits"), floss(1 / 4, 1 / 16), rank=4)
    learner = open_learner(config, learner="sequential")
    run(config, load_profile("paper-200-20"), learner, rounds=3, eval_every=100)
    # The last round is evaluated: one more download is encoded.
    assert counts["encode"] == 3 * (1 + 5) + 1
    assert counts["decode"] == 3 * (1 + 5)  # what all clients are sent is decoded once
    assert counts["train_locally"] == 3 * 5


def test_the_network_adds_little_to_a_training_run(monkeypatch: pytest.MonkeyPatch):
    events = Counter()
    real = simpy.Environment.schedule

    def schedule(self, *arguments, **named):
        events["scheduled"] += 1
        return real(self, *arguments, **named)

    monkeypatch.setattr(simpy.Environment, "schedule", schedule)
    config = RunConfig.of(load_task("digits"), floss(1 / 4, 1 / 16), rank=16)
    learner = open_learner(config, "cpu")
    begin = learner.snapshot()
    busy = Counter()
    for name in ("dispatch", "train", "aggregate", "evaluate"):
        method = getattr(learner, name)

        def timed(*arguments, method=method):
            began = time.perf_counter()
            result = method(*arguments)
            busy["learner"] += time.perf_counter() - began
            return result

        setattr(learner, name, timed)
    shares = []
    for _ in range(3):
        learner.restore(begin)
        busy.clear()
        began = time.perf_counter()
        run(config, load_profile("lte"), learner, rounds=30)
        shares.append(1 - busy["learner"] / (time.perf_counter() - began))
    print(f"\nnetwork and record: {100 * statistics.median(shares):.2f} % of a run's wall time")
    # Of a client 7, nothing being shared, and 2 to wake the server; of a round a few.
    assert events["scheduled"] <= 3 * 30 * (5 * 9 + 3)
