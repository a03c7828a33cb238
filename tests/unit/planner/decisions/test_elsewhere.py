"""Times elsewhere: those of the same messages, re-timed on other packaged networks."""

from __future__ import annotations

import numpy as np
import pytest
from made_plans import whole_plan

from floss_sim import RunConfig, load_profile, retime, size_only
from floss_sim.analysis.drawn_fleets import FLEETS
from floss_sim.analysis.traffic import Traffic
from planner.decisions.elsewhere import times_elsewhere
from planner.plans.elsewhere import NETWORKS
from planner.report import plan_text


@pytest.fixture
def traffic(digits: RunConfig) -> tuple[object, Traffic]:
    record = size_only(digits, load_profile("paper-200-20"), rounds=7)
    return record, Traffic.of(record)


def test_times_are_those_of_a_run_that_is_timed_there(traffic, digits: RunConfig):
    record, messages = traffic
    runs = {"plan": messages, "dense": messages.until(3)}
    found = list(times_elsewhere(runs, load_profile("paper-200-20"), digits.fleet.clients))
    assert [times.network for times in found] == list(NETWORKS)
    for times in found:
        profile = load_profile(times.network)
        fleets = [profile.model_copy(update={"seed": seed}) for seed in range(FLEETS)]
        closed = [retime(record, fleet).rounds["closed_at_s"].to_pylist() for fleet in fleets]
        median_R = np.median(closed, axis=0)
        medians = {name: time.median_s for name, time in times.times.items()}
        assert medians == pytest.approx({"plan": median_R[6], "dense": median_R[2]})


def test_the_network_that_was_asked_for_is_not_repeated(traffic, digits: RunConfig):
    found = times_elsewhere({"plan": traffic[1]}, load_profile("lte"), digits.fleet.clients)
    assert "lte" not in [times.network for times in found]


def test_a_plan_says_that_its_seconds_are_traffic_alone():
    lines = "\n".join(plan_text.sentences(whole_plan()))
    assert "paper has no round trip and no compute: its seconds are those of traffic" in lines
