"""The sentence on rounds whose time is compute."""

from __future__ import annotations

import pytest

from floss_sim.analysis.compute_bound import BINDS_BY, compute_bound_text
from floss_sim.analysis.round_parts import ROUND_PARTS


def shares(**parts: float) -> dict[str, float]:
    return dict.fromkeys(ROUND_PARTS, 0.0) | parts


def test_compute_binds_from_ten_times_the_traffic_on():
    edge = BINDS_BY / (1 + BINDS_BY)
    for compute, said in ((edge + 1e-9, True), (edge - 1e-9, False)):
        rest = 1 - compute
        parts = shares(compute=compute, upload=rest / 2, download=rest / 4, queueing=rest / 4)
        assert bool(compute_bound_text(parts, 60.0)) is said


def test_the_sentence_has_the_figures_of_the_round():
    text = compute_bound_text(shares(compute=0.96, upload=0.03, download=0.01), 100.0)
    assert text == (
        "Compute takes 1.6 min of a round of 1.67 min, 24 times as long as traffic: compression "
        "saves no time here; fewer layers, shorter texts or fewer local steps do."
    )
    assert "times as long" not in compute_bound_text(shares(compute=1.0), 1.0)


@pytest.mark.parametrize("parts", [shares(), shares(compute=0.4, latency=0.6), shares(latency=1.0)])
def test_nothing_is_said_where_nothing_computes_or_round_trips_last_longer(parts):
    assert compute_bound_text(parts, 1.0) == ""
