from __future__ import annotations

import numpy as np
import pytest
from made_speed_tests import made

from floss_sim.network.measured.fast_tests import fast_tests


def test_tests_at_the_limits_are_not_fast():
    fastest = np.full(30, 10_000.0)
    assert fast_tests(made(fastest, up=fastest, rtt=np.full(30, 0.1))) == {}


def test_each_quantity_has_its_count_share_and_first_line():
    down, up, rtt = np.full(40, 50.0), np.full(40, 5.0), np.full(40, 30.0)
    weights = np.arange(1.0, 41.0)
    down[[7, 20]], up[39], rtt[[3, 4, 7]] = 90_000, 10_001, 0.001
    found = fast_tests(made(down, up=up, rtt=rtt, weights=weights))
    assert {name: (one.count, one.first_line) for name, one in found.items()} == {
        "down_bits_per_s": (2, 9), "up_bits_per_s": (1, 41), "rtt_s": (3, 5),
    }  # fmt: skip
    assert found["down_bits_per_s"].weight == pytest.approx((8 + 21) / 820)
    assert found["rtt_s"].weight == pytest.approx((4 + 5 + 8) / 820)
    assert found["down_bits_per_s"].first == {
        "down_bits_per_s": 90e9, "up_bits_per_s": 5e6, "rtt_s": pytest.approx(1e-6),
    }  # fmt: skip
