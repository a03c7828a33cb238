"""Intervals of accuracies: how often they hold, and what they are moved by."""

from __future__ import annotations

import math

import numpy as np
import pytest

from planner.candidates import Candidate, grid
from planner.curves import Curve
from planner.forecasts.falls import peak_round
from planner.forecasts.forecast import own_deviation
from planner.forecasts.intervals import Interval, KnownCurves, stretch_factor
from planner.forecasts.smoothing import smoothed_accuracy

GRID = grid((1, 4, 16), (1.0, 0.25, 1 / 16), (1.0, 0.25, 1 / 16))
EVALUATED = (1, 2, 3, 5, 7, *range(10, 201, 5))


def intervals(history, asked, level=0.9, **again) -> dict[Candidate, Interval]:
    return KnownCurves(history, 350, 200, level=level, **again).intervals(asked)


def truth(candidate: Candidate, rounds: int) -> float:
    best = 0.93 - 0.01 * abs(math.log2(candidate.rank) - 2) + 0.01 * candidate.down_density
    return best - 0.8 * (1 + rounds / 4) ** -1.2


def curve(candidate: Candidate, rounds: int, seed: int, luck: float = 0.0) -> Curve:
    """``luck`` is of a seed: the standard deviation of log-odds that a whole curve shifts by."""
    rng = np.random.default_rng([seed, GRID.index(candidate)])
    evaluated = tuple(r for r in EVALUATED if r <= rounds)
    shift = luck * np.random.default_rng([seed, GRID.index(candidate), 1]).standard_normal()
    likely = (shifted(truth(candidate, r), shift) for r in evaluated)
    noisy = (rng.binomial(350, p) / 350 for p in likely)
    return Curve(evaluated, tuple(noisy), rounds)


def shifted(accuracy: float, log_odds: float) -> float:
    return 1 / (1 + (1 - accuracy) / accuracy * math.exp(-log_odds))


def known(seed: int, luck: float = 0.0) -> dict[Candidate, Curve]:
    return {c: curve(c, 200 if i % 3 == 0 else 65, seed, luck) for i, c in enumerate(GRID)}


@pytest.mark.parametrize("luck", [0.0, 0.15, 0.3])
def test_nine_of_ten_hold_what_is_true(luck: float):
    held = []
    for seed in range(6):
        made = intervals(known(seed, luck), dict.fromkeys(GRID, 200))
        held += [i.low <= truth(c, 200) <= i.high for c, i in made.items()]
    assert 0.82 <= np.mean(held) <= 1


def test_luck_is_learned_from_what_near_runs_do_not_share():
    none, some, much = (
        np.mean([own_deviation(known(seed, luck), 350, 200) for seed in range(4)])
        for luck in (0.0, 0.15, 0.5)
    )
    assert none < 0.1 < some < 0.25 < 0.35 < much < 0.7
    assert own_deviation({}, 350, 200) is None


def test_a_few_equal_accuracies_do_not_show_that_seeds_agree():
    """Before anything is learned, all runs predict alike."""
    few = {c: Curve((1, 2), (0.55, 0.55), 2) for c in GRID[:3]}
    made = intervals(few, dict.fromkeys(few, 2))
    assert own_deviation(few, 350, 200) < 0.02
    usual = 0.13 * math.sqrt(4 / (4 + len(few)))  # log-odds; a probability of 0.55 moves by 0.2475
    for told in made.values():
        assert told.high - told.low == pytest.approx(2 * 1.645 * 0.2475 * usual, rel=0.05)


def test_what_ends_earlier_is_a_forecast_and_wider():
    made = intervals(known(0), dict.fromkeys(GRID, 200))
    kinds = {c: i.kind for c, i in made.items()}
    assert [kinds[c] for c in GRID[:4]] == ["measured", "forecast", "forecast", "measured"]
    measured, forecast = (
        np.mean([i.high - i.low for i in made.values() if i.kind == kind])
        for kind in ("measured", "forecast")
    )
    assert measured < forecast
    one = made[GRID[0]]
    assert one.to_json() == {
        "low": one.low, "mean": one.mean, "high": one.high, "level": 0.9, "kind": "measured",
    }  # fmt: skip


def test_a_higher_level_is_wider():
    narrow, wide = (intervals(known(0), {GRID[0]: 200}, level)[GRID[0]] for level in (0.8, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_a_curve_of_another_shape_than_the_others_is_believed():
    """Ten points under its neighbours, throughout."""
    odd = GRID[12]
    history = {c: curve(c, 200, 1) for c in GRID}
    low = tuple(a - 0.1 for a in history[odd].accuracies)
    history[odd] = Curve(history[odd].evaluated, tuple(max(0.0, a) for a in low), 200)
    assert intervals(history, {odd: 200})[odd].mean < truth(odd, 200) - 0.07


def test_a_fallen_curve_stays_down_and_teaches_only_up_to_its_peak():
    history = {c: curve(c, 200, 2) for c in GRID}
    before = intervals(history, {GRID[0]: 200})[GRID[0]]
    fallen = tuple(
        a if r < 150 else 0.1 for r, a in zip(EVALUATED, history[GRID[1]].accuracies, strict=False)
    )
    history[GRID[1]] = Curve(EVALUATED, fallen, 200)
    made = intervals(history, {GRID[0]: 200, GRID[1]: 200})
    assert made[GRID[1]].mean < 0.2
    assert made[GRID[0]].mean == pytest.approx(before.mean, abs=0.01)
    alone = {GRID[1]: history[GRID[1]]}
    assert intervals(alone, {GRID[1]: 200})[GRID[1]].mean < 0.2


def test_another_seed_moves_and_narrows():
    history = known(3)
    first = intervals(history, {GRID[0]: 200})[GRID[0]]
    other = Curve(EVALUATED, (first.mean - 0.02,) * len(EVALUATED), 200)
    again = intervals(history, {GRID[0]: 200}, again={GRID[0]: [other]})[GRID[0]]
    assert first.mean - 0.02 < again.mean < first.mean
    assert again.high - again.low < first.high - first.low
    luck = own_deviation(history, 350, 200) * first.mean * (1 - first.mean)
    assert first.high - first.low > 2 * 1.64 * luck


def test_deviations_are_stretched_where_ends_are_foretold_badly():
    regular = {c: curve(c, 200, 4) for c in GRID}
    bent = {
        c: Curve(k.evaluated, tuple(
            min(1.0, a + (0.03 * (-1) ** i if r > 170 else 0))
            for r, a in zip(k.evaluated, k.accuracies, strict=False)
        ), 200)
        for i, (c, k) in enumerate(regular.items())
    }  # fmt: skip
    assert stretch_factor(bent, 350, 200) > 1.5 * stretch_factor(regular, 350, 200)


def test_nothing_known_has_no_interval():
    assert intervals({}, {GRID[0]: 200}) == {}


def test_an_interval_does_not_depend_on_what_else_is_asked():
    space = [*GRID, *(Candidate(c.rank, c.down_density, c.up_density, epochs=2) for c in GRID)]
    door = KnownCurves(known(5), 350, 200, space=space)
    alone = door.intervals({GRID[0]: 120})[GRID[0]]
    points = [(c, r) for c in space for r in (10, 120, 200)]
    made = door.intervals_at([*points, *points])
    assert list(made) == points
    assert made[GRID[0], 120].mean == pytest.approx(alone.mean, abs=1e-12)
    assert made[GRID[0], 120].low == pytest.approx(alone.low, abs=1e-12)
    forecast = door.forecasts({GRID[1]: 200})[GRID[1]]
    assert forecast.mean == pytest.approx(made[GRID[1], 200].mean, abs=1e-12)


def test_another_seed_that_ends_earlier_says_nothing_of_the_end():
    history = known(3)
    short = {GRID[0]: [Curve((10,), (0.1,), 10)]}
    assert intervals(history, {GRID[0]: 200}, again=short) == intervals(history, {GRID[0]: 200})


def test_a_target_is_reached_where_the_expected_accuracy_reaches_it():
    door = KnownCurves(known(6), 350, 200)
    target = 0.85
    reached = door.first_rounds_at(target, GRID)
    for c in GRID:
        rounds = door.history[c].evaluated
        made = door.intervals_at((c, r) for r in rounds)
        first = next((r for r in rounds if made[c, r].mean >= target), None)
        assert reached.get(c) == first
    assert len(reached) > 1
    assert door.first_rounds_at(0.999, GRID) == {}


def test_one_lucky_evaluation_reaches_no_target():
    """A point above the target, by luck: the truth is two points below it."""
    history = {c: curve(c, 200, 7) for c in GRID}
    lucky, at = history[GRID[0]], EVALUATED.index(60)  # alone in the last 15 % but for round 55
    target = truth(GRID[0], 60) + 0.02
    before = tuple(min(a, target - 0.01) for a in lucky.accuracies[: at - 1])
    high = (*before, target + 0.01, target + 0.01, *lucky.accuracies[at + 1 :])
    history[GRID[0]] = Curve(EVALUATED, high, 200)
    door = KnownCurves(history, 350, 200)
    assert door.first_rounds_at(target, GRID).get(GRID[0], 400) > 60
    failed = Curve(lucky.evaluated, lucky.accuracies, 200, failed=True)
    assert KnownCurves({GRID[0]: failed}, 350, 200).first_rounds_at(0.1, GRID[:1]) == {}


def test_a_fallen_curve_had_not_fallen_before():
    history = {c: curve(c, 200, 2) for c in GRID}
    fallen = tuple(
        a if r < 150 else 0.1 for r, a in zip(EVALUATED, history[GRID[1]].accuracies, strict=True)
    )
    history[GRID[1]] = Curve(EVALUATED, fallen, 200)
    early = intervals(history, {GRID[1]: 140})[GRID[1]]
    assert early.low <= truth(GRID[1], 140) <= early.high


def test_the_peak_of_a_fallen_curve_is_less_flattered_by_what_near_curves_say():
    """The highest of many noisy accuracies is too high by itself."""
    alone, among = [], []
    for seed in range(12):
        history = {c: curve(c, 200, 40 + seed) for c in GRID}
        fallen = (*history[GRID[4]].accuracies[:-2], 0.1, 0.1)
        history[GRID[4]] = Curve(EVALUATED, fallen, 200)
        peak = peak_round(history[GRID[4]], 350)
        made = intervals(history, {GRID[4]: peak})[GRID[4]]
        assert made.kind == "measured"
        measured = smoothed_accuracy(EVALUATED, fallen, peak)
        alone.append(measured - truth(GRID[4], peak))
        among.append(made.mean - truth(GRID[4], peak))
        assert made.low <= truth(GRID[4], peak) <= made.high
    assert np.mean(alone) > 0.002
    assert abs(np.mean(among)) < np.mean(alone)
