"""Slices of calls with which the owner of a store keeps up."""

from __future__ import annotations

import pytest

from planner.cluster.owner_time import OwnerTime


def test_calls_take_so_long_that_their_owner_is_busy_a_quarter_of_its_time():
    owner = OwnerTime()
    assert owner.least_slice_s(256) == 0
    for _ in range(10):
        owner.note(0.5)
        owner.note_answer()
    slice_s = owner.least_slice_s(256)
    calls_per_s = 256 / slice_s
    assert calls_per_s * 0.5 == pytest.approx(0.25)
