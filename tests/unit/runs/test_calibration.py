"""What first rounds say of the others."""

from __future__ import annotations

import pytest

from floss_sim import RunConfig, floss, load_profile, load_task, open_learner, run, size_only
from floss_sim.runs.calibration import UNCALIBRATED, Calibration, calibrate, calibration_rounds


@pytest.fixture(scope="module")
def config() -> RunConfig:
    return RunConfig.of(load_task("digits"), floss(1 / 4, 1 / 16), rank=4)


@pytest.fixture(scope="module")
def paper():
    return load_profile("paper-200-20")


def test_without_calibration_sizes_are_as_predicted():
    assert UNCALIBRATED.nbytes("down", 1234) == UNCALIBRATED.nbytes("up", 1234) == 1234


def test_each_direction_has_its_own_factor_and_no_message_is_empty():
    made = Calibration(down=0.5, up=2.0)
    assert (made.nbytes("down", 1000), made.nbytes("up", 1000)) == (500, 2000)
    assert Calibration(down=1e-9).nbytes("down", 1000) == 1


def test_a_size_only_run_calibrates_to_what_it_was_made_with(config, paper):
    predicted = size_only(config, paper, 4)
    record = size_only(config, paper, 4, calibration=Calibration(0.75, 1.25))
    made = calibrate(record, predicted, range(1, 3))
    assert (made.down, made.up) == pytest.approx((0.75, 1.25), rel=1e-3)
    error = made.error(calibrate(record, predicted, range(3, 5)))
    assert (error.down, error.up) == pytest.approx((0, 0), abs=1e-3)  # whole bytes


def test_the_first_rounds_of_a_real_run_foretell_the_others(config, paper):
    """Better than uniform masks do."""
    record = run(config, paper, open_learner(config, "cpu"), rounds=25, eval_every=25)
    predicted = size_only(config, paper, 25)
    made, real = (
        calibrate(record, predicted, span) for span in (calibration_rounds(10), range(11, 26))
    )
    error, plain = made.error(real), UNCALIBRATED.error(real)
    assert abs(error.down) < 0.06
    assert abs(error.up) < 0.06
    assert abs(plain.down) + abs(plain.up) > abs(error.down) + abs(error.up)
