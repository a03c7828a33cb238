"""Every flow's end against two independent implementations, on thousands of random cases."""

from __future__ import annotations

import pytest
from flows import (
    Case,
    Job,
    ciw_ends,
    filled,
    later,
    piped,
    random_batch,
    random_case,
    shared,
    worst_error,
)

# Required is 1e-6. Measured over more cases (experiments/network_proofs/results.md): 4e-12.
TIGHT = 1e-10
each_way = pytest.mark.parametrize("ends_of", [shared, piped])


@each_way
def test_progressive_filling_agrees(ends_of):
    cases = [random_case(seed) for seed in range(2000)]
    cases += [random_case(seed, flows=40) for seed in range(2000, 2040)]
    assert max(worst_error(ends_of(case), filled(case)) for case in cases) < TIGHT


@each_way
def test_ciws_processor_sharing_agrees(ends_of):
    batches = [random_batch(seed, 40, at_once=1 + seed % 5) for seed in range(150)]
    assert max(worst_error(ends_of(batch), ciw_ends(batch)) for batch in batches) < TIGHT


@each_way
def test_a_late_hour_costs_no_more_than_the_clocks_resolution(ends_of):
    month_s = 30 * 86400.0
    for case in map(random_case, range(100)):
        moved = [end - month_s for end in ends_of(later(case, month_s))]
        assert moved == pytest.approx(filled(case), rel=0, abs=month_s * 1e-14)


def test_a_wrong_rate_is_seen():
    """The oracles can fail: a cap that is one millionth off, in one flow of many, is found."""
    case = random_case(7)
    one, *others = case.jobs
    wrong = Job(one.at_s, one.bits, tuple((at_s, cap * (1 - 1e-6)) for at_s, cap in one.caps))
    near = Case((wrong, *others), case.capacity, case.cells)
    assert worst_error(shared(near), filled(case)) > 100 * TIGHT
