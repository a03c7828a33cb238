"""The expected touched share beside closed forms, and beside a simulation of the model."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from floss_sim import RunConfig, floss, load_task
from floss_sim.methods.touched_entries import (
    TouchConstants,
    anchor_rounds,
    start_groups,
    touched_shares,
)

ZEROS = (0, 0, 100_000)  # nothing but entries that start at zero
LEVEL = (0.0, 0.0, 0.0)


def constants(correlation: float, adapter=LEVEL, head=LEVEL) -> TouchConstants:
    return TouchConstants(correlation, adapter, head)


def shares(
    groups: tuple[int, int, int], uploads: list[tuple[float, int]], given: TouchConstants
) -> np.ndarray:
    return touched_shares(groups, uploads, given, anchor_rounds())


@pytest.mark.parametrize("density", [1 / 64, 1 / 4])
@pytest.mark.parametrize("cohort", [1, 5])
def test_independent_uploads_touch_as_independent_draws_do(density: float, cohort: int):
    shares_J = touched_shares(
        ZEROS, [(cohort, int(density * 100_000))], constants(1e-9), anchor_rounds()
    )
    uploads_J = cohort * (anchor_rounds() - 1)
    assert shares_J == pytest.approx(1 - (1 - density) ** uploads_J, abs=2e-3)


def test_equal_uploads_touch_no_more_than_the_first():
    shares_J = shares(ZEROS, [(5, 6_250)], constants(1 - 1e-9))
    assert shares_J[0] == 0
    assert shares_J[1:] == pytest.approx(1 / 16, abs=0.02)  # a step, by 40 nodes


def test_dense_uploads_touch_everything():
    shares_J = shares(ZEROS, [(5, 100_000)], constants(0.5))
    assert shares_J[0] == 0
    assert shares_J[1:] == pytest.approx(1, abs=1e-6)


def test_shares_are_those_of_simulated_uploads():
    """20,000 entries in three groups, whose largest magnitudes are really chosen."""
    groups, kept, cohort, rounds = (8_000, 2_000, 10_000), 1_250, 4, 30
    given = constants(0.6, (-1.0, 0.3, 0.2), (1.5, -0.5, 0.1))
    draw = np.random.default_rng(0)
    shared_N = draw.normal(size=20_000)
    group_N = np.repeat([0, 1, 2], groups)
    touched_N = np.zeros(20_000, dtype=bool)
    simulated = []
    for number in range(1, rounds + 1):
        simulated.append(touched_N[group_N == 2].mean())
        mean_N = given.differences(np.array([float(number)]))[group_N, 0]
        for _ in range(cohort):
            own_N = draw.normal(size=20_000)
            magnitude_N = mean_N + np.sqrt(0.6) * shared_N + np.sqrt(0.4) * own_N
            touched_N[np.argsort(-magnitude_N)[:kept]] = True
    shares_J = shares(groups, [(cohort, kept)], given)
    expected = np.interp(np.arange(1, rounds + 1), anchor_rounds(), shares_J)
    assert simulated == pytest.approx(expected, abs=0.02)


def test_tiers_add_up():
    one = shares(ZEROS, [(5, 1_000)], constants(0.5))
    two = shares(ZEROS, [(2.5, 1_000), (2.5, 1_000)], constants(0.5))
    assert one == pytest.approx(two)


def test_the_first_upload_has_the_density_of_the_uploads():
    shares_J = shares(ZEROS, [(1, 1_000)], constants(0.5))
    assert shares_J[1] == pytest.approx(norm.sf(norm.isf(0.01)), rel=0.02)


def test_a_share_never_falls_and_never_exceeds_one():
    for entries in (10, 1_000, 50_000):
        shares_J = shares(
            (8_000, 700, 9_000),
            [(5, min(entries, 17_700))],
            constants(0.4, (-2, 5, 1), (2, -4, -5)),
        )
        assert (np.diff(shares_J) >= -1e-12).all()
        assert 0 <= shares_J[0] <= shares_J[-1] <= 1


def test_groups_are_what_starts_at_zero():
    layout = RunConfig.of(load_task("digits"), floss(), rank=4).layout
    b = 8 * 4 * 64  # q and v of four layers, width 64
    assert start_groups(layout) == (b, 640, b + 10)
    vector_N = layout.initial_vector(0)
    assert np.count_nonzero(vector_N == 0) == b + 10
