"""Learning rates as an option."""

from __future__ import annotations

import pytest

from floss_sim.errors import ConfigError
from planner.cli.shared_options import rates


def test_rates_are_separated_by_commas():
    assert rates("0.02, 5e-3", "client-lrs") == [0.02, 0.005]
    assert rates("", "client-lrs") == []


@pytest.mark.parametrize("text", ["x", "0.1;0.2", ","])
def test_what_is_no_rate_is_refused_with_what_would_be(text: str):
    with pytest.raises(ConfigError, match=r"server-lrs .*; valid: numbers above 0"):
        rates(text, "server-lrs")
