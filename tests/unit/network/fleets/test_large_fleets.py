"""Fleets described without anything for each client."""

from __future__ import annotations

import gc
import tracemalloc

import pytest
from stand_in_learners import FakeLearner

from floss_sim import RunConfig, floss, load_profile, load_task, size_only
from floss_sim.runs.size_only_learner import SameExamples
from floss_sim.simulator import simulate, wait_all

MANY = 1_000_000


def test_same_examples_are_a_sequence_of_one_value():
    same = SameExamples(4, 29)
    assert list(same) == [29] * 4
    assert (same[-1], list(same[1:3]), len(same)) == (29, [29, 29], 4)
    with pytest.raises(IndexError):
        same[4]


def test_a_fleet_of_a_million_takes_memory_for_its_cohort_alone():
    config = RunConfig.of(load_task("digits"), floss(1 / 4, 1 / 16), rank=16)
    lte = load_profile("lte")
    size_only(config, lte, 1)  # what is loaded once
    tracemalloc.start()
    try:
        large = config.with_(fleet={"clients": MANY}, server={"cohort": 10})
        record = size_only(large, lte, 3, SameExamples(MANY, 29))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert max(record.transfers["client"].to_pylist()) > 1000
    assert peak < 3 * MANY  # a byte a client for its class, and blocks of drawn links


def play(learner: FakeLearner) -> None:
    links = load_profile("lte").links(4)
    list(simulate(learner, load_profile("lte"), links, wait_all(), lambda r, _: range(4), 4, 2))


class Watching(FakeLearner):
    def aggregate(self, arrivals):
        assert not gc.isenabled()
        if self.version:
            raise RuntimeError("the second round fails")
        return super().aggregate(arrivals)


def test_the_cycle_collector_is_on_again_after_a_round_that_fails():
    with pytest.raises(RuntimeError, match="second round"):
        play(Watching())
    assert gc.isenabled()


def cycles_left(rounds: int) -> int:
    """Return how many objects only the cycle collector would free after some rounds."""
    learner, links = FakeLearner(), load_profile("lte").links(100)
    gc.collect()
    gc.disable()
    try:
        played = simulate(
            learner, load_profile("lte"), links, wait_all(), lambda r, _: range(100), 100, rounds
        )
        assert sum(outcome.reports for outcome in played) == 100 * rounds
        del played
        return gc.collect()
    finally:
        gc.enable()


def test_rounds_leave_no_cycles_behind_that_grow_with_their_number():
    assert cycles_left(8) == cycles_left(2)
