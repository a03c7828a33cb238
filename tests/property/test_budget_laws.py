"""What must hold of budgets, confidences and limits, whatever their amounts."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import DRAWN

from floss_sim import RunConfig, floss, load_profile, load_task
from floss_sim.analysis.drawn_fleets import Fleets
from floss_sim.analysis.round_times import Clock
from floss_sim.analysis.traffic import Traffic
from planner.candidates import Candidate
from planner.forecasts.intervals import Interval, Point
from planner.question.budget import Limit, parse_budget
from planner.question.objective import front

ROUNDS = 40
shares = st.floats(0.01, 0.99)


@lru_cache(maxsize=1)
def traffic() -> Traffic:
    config = RunConfig.of(load_task("digits"), floss(1 / 4, 1 / 16), rank=2)
    return Traffic.predict(config, ROUNDS)


@pytest.fixture(scope="module")
def clocks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clock, ...]:
    path = tmp_path_factory.mktemp("drawn") / "drawn.toml"
    path.write_text(DRAWN, encoding="utf-8")
    return Fleets.of(load_profile(str(path)), 50).clocks


def limit(text: str, amount: float, client_bytes: float = np.inf, fleets=None) -> Limit:
    links = load_profile("lte").links(50)
    fleets = fleets or Fleets.of(load_profile("lte"), 50)
    return Limit(parse_budget(text), amount, links, 5, client_bytes, fleets)


@given(
    st.sampled_from(["9-dense-rounds", "1MB", "1MB/client", "9s"]),
    st.floats(0.001, 1),
    st.floats(1, 3),
)
def test_a_bigger_budget_never_gives_fewer_rounds(text: str, part: float, factor: float):
    whole = limit(text, 1.0).spending(traffic())[-1]
    small, large = (limit(text, whole * part * by) for by in (1, factor))
    assert small.rounds(traffic()) <= large.rounds(traffic()) <= ROUNDS
    assert limit(text, whole * (1 + 1e-9)).rounds(traffic()) == ROUNDS


@given(st.floats(100, 1e6), st.floats(1, 3), st.floats(0.01, 2))
def test_more_bytes_of_a_client_never_give_fewer_rounds(most: float, factor: float, part: float):
    amount = part * limit("1MB", 1.0).spending(traffic())[-1]
    free, small, large = (
        limit("1MB", amount, most_).rounds(traffic()) for most_ in (np.inf, most, most * factor)
    )
    assert small <= large <= free
    assert (traffic().busiest_bytes()[:small] <= most * (1 + 1e-12)).all()


@given(shares, shares, st.floats(0.05, 1.5))
def test_more_confidence_never_gives_more_rounds(
    clocks: tuple[Clock, ...], a: float, b: float, part: float
):
    amount = part * clocks[0].closing_times(traffic())[-1]
    sure, unsure = (
        limit(f"9s@{round(100 * share, 1)}%", amount, fleets=Fleets(clocks, share))
        for share in (max(a, b), min(a, b))
    )
    assert sure.rounds(traffic()) <= unsure.rounds(traffic())


points = st.tuples(st.floats(1e-3, 1), st.floats(0, 1))


@given(st.lists(st.lists(points, min_size=1, max_size=8), min_size=1, max_size=5))
def test_no_point_of_a_front_is_beaten(worlds: list[list[tuple[float, float]]]):
    curves = {
        Candidate(rank, 1.0, 1.0): [
            (r, spent, accuracy)
            for r, (spent, (_, accuracy)) in enumerate(
                zip(sorted(s for s, _ in world), world, strict=True), start=1
            )
        ]
        for rank, world in enumerate(worlds, start=1)
    }
    accuracies = {(c, r): accuracy for c, curve in curves.items() for r, _, accuracy in curve}

    def intervals_at(asked: Iterable[Point]) -> dict[Point, Interval]:
        return {at: Interval(0.0, accuracies[at], 1.0, "measured") for at in asked}

    made = front(curves, intervals_at)
    assert made
    costs, best = [p.spent for p in made], [p.accuracy for p in made]
    assert costs == sorted(set(costs))
    assert best == sorted(set(best))
