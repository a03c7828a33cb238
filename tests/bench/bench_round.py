"""What a round costs the host: work counts are asserted, ratios are printed.

make bench
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from pathlib import Path

import pytest
import simpy

from floss_sim import RunConfig, RunFolder, floss, load_profile, load_task, open_learner, run
from floss_sim.methods import exchange
from floss_sim.training import learner


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
    counted(learner, "train_locally")
    config = RunConfig.of(load_task("digits"), floss(1 / 4, 1 / 16), rank=4)
    run(config, load_profile("paper-200-20"), open_learner(config), rounds=3, eval_every=100)
    # The last round is evaluated: one more download is encoded.
    assert counts["encode"] == 3 * (1 + 5) + 1
    assert counts["decode"] == 3 * (5 + 5)
    assert counts["train_locally"] == 3 * 5


def test_the_network_adds_little_to_a_training_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    events = Counter()
    real = simpy.Environment.step

    def step(self):
        events["step"] += 1
        return real(self)

    monkeypatch.setattr(simpy.Environment, "step", step)
    config = RunConfig.of(load_task("digits"), floss(1 / 4, 1 / 16), rank=16)
    learner = open_learner(config, "cpu")
    busy = Counter()
    for name in ("dispatch", "train", "aggregate", "evaluate"):
        method = getattr(learner, name)

        def timed(*arguments, method=method):
            began = time.perf_counter()
            result = method(*arguments)
            busy["learner"] += time.perf_counter() - began
            return result

        setattr(learner, name, timed)
    folder = RunFolder.open(tmp_path / "run", config.description("bench", "cpu", 1))
    shares = []
    for rounds in (10, 20, 30):
        busy.clear()
        began = time.perf_counter()
        run(config, load_profile("paper-200-20"), learner, rounds=rounds, folder=folder)
        shares.append(1 - busy["learner"] / (time.perf_counter() - began))
    print(f"\nnetwork, record and resume: {100 * statistics.median(shares):.1f} % of a run's time")
    # 10 + 20 + 30 rounds were simulated; each client takes 5 steps, a round 4 and more for its end.
    assert events["step"] <= 60 * (5 * 5 + 6)
