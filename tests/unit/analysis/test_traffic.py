from __future__ import annotations

import numpy as np
import pytest

from floss_sim import RunConfig, load_profile, size_only
from floss_sim.analysis.traffic import Traffic
from floss_sim.network import NetworkProfile
from floss_sim.runs.calibration import Calibration
from planner.candidates import Candidate

FIELDS = ("clients", "down", "up", "first", "examples")


@pytest.mark.parametrize("first_bytes", [0, 4321])
@pytest.mark.parametrize(
    "candidate",
    [
        Candidate(2, 1 / 4, 1 / 16),
        Candidate(2, 1 / 4, 1 / 4, cohort_size=7, epochs=2, method="sparse-adapter"),
        Candidate(2, 1 / 4, 1 / 4, values="int8", method="ffa"),
    ],
)
def test_messages_are_those_of_a_size_only_run(
    digits: RunConfig, paper: NetworkProfile, candidate: Candidate, first_bytes: int
):
    config = candidate.config(digits.task, 3)
    profile = paper.model_copy(update={"first_download": first_bytes})
    record = size_only(config, profile, 12)
    recorded, predicted = Traffic.of(record), Traffic.predict(config, 12, first_bytes)
    for name in FIELDS:
        assert np.array_equal(getattr(recorded, name), getattr(predicted, name)), name
    both = np.array(record.rounds["down_bytes"]) + np.array(record.rounds["up_bytes"])
    assert np.array_equal(predicted.nbytes(), np.cumsum(both))
    by_client: dict[int, int] = {}
    most = []
    rows = record.transfers.to_pylist()
    for number in range(1, 13):
        for row in rows:
            if row["round"] == number:
                by_client[row["client"]] = by_client.get(row["client"], 0) + row["nbytes"]
        most.append(max(by_client.values()))
    assert predicted.busiest_bytes().tolist() == most


def test_calibrated_messages_are_those_of_a_calibrated_run(sparse_digits: RunConfig):
    by = Calibration(0.8, 1.3)
    real = Traffic.of(size_only(sparse_digits, load_profile("lte"), 9, calibration=by))
    predicted = Traffic.predict(sparse_digits, 9)
    assert np.array_equal(predicted.with_calibration(by).up, real.up)
    made = real.calibration(predicted, range(3, 6))
    assert (made.down, made.up) == pytest.approx((0.8, 1.3), rel=1e-3)


def test_messages_of_one_size_keep_who_takes_part(sparse_digits: RunConfig):
    predicted = Traffic.predict(sparse_digits, 4)
    made = predicted.with_sizes(1000, 10)
    assert made.nbytes().tolist() == [5050, 10100, 15150, 20200]
    assert np.array_equal(made.clients, predicted.clients)
    assert predicted.until(3).shape == (3, 5)


def test_the_first_rounds_have_their_own_participants(sparse_digits: RunConfig):
    whole = Traffic.predict(sparse_digits, 9)
    for traffic in (whole, whole.until(2), whole.until(5)):  # the whole one's are known by then
        numbers_N, place_RC = traffic.participants
        assert numbers_N.tolist() == sorted(set(traffic.clients.ravel().tolist()))
        assert (numbers_N[place_RC] == traffic.clients).all()
