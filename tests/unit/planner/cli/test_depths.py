"""Depths as an option: numbers of last layers, or all."""

from __future__ import annotations

import pytest

from floss_sim import load_task
from floss_sim.errors import ConfigError
from planner.cli.shared_options import depths


def test_all_is_the_number_of_the_layers():
    assert depths("all,2, 1", load_task("digits")) == [4, 2, 1]
    assert depths("", load_task("digits")) == []


@pytest.mark.parametrize("text", ["every", "2;1", "1.5", ","])
def test_what_is_no_depth_is_refused_with_what_would_be(text: str):
    with pytest.raises(ConfigError, match="valid: numbers of layers separated by commas, or all"):
        depths(text, load_task("digits"))
