"""Sweeps over hand-made records whose crossing is known."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_runs import make_run, one_time

from floss_sim import load_profile
from floss_sim.analysis.comparison import Configuration
from floss_sim.analysis.crossover import Crossover, Sweep, common_target, crossover, parse_sweep
from floss_sim.analysis.time_spread import TimeSpread
from floss_sim.analysis.what_if import replay_comparison
from floss_sim.errors import ConfigError

# To 0.8: many small rounds against one large one; with round trips, the large one wins.
SMALL = [(0.11 * n, 0, 40_000, 0.0) for n in range(1, 9)]
LARGE = [(0.8, 0, 1_000_000, 0.0)]


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Configuration, ...]:
    paths = [make_run(tmp_path / "0", SMALL, rank=1), make_run(tmp_path / "1", LARGE, rank=8)]
    return replay_comparison(paths, "lte").configurations


def test_a_sweep_is_read():
    assert parse_sweep("upload-ratio=1,2, 4,2") == Sweep("upload-ratio", ("1", "2", "4"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "cannot sweep ''; valid: down, up, rtt, upload-ratio"),
        ("speed=1,2", "cannot sweep 'speed'"),
        ("rtt", "lacks a value; valid: NAME=VALUE,VALUE,..."),
        ("rtt=", "lacks a value"),
        ("rtt=1ms,,2ms", "lacks a value"),
        ("rtt=" + ",".join(map(str, range(101))), "a sweep of 101 values; valid: at most 100"),
    ],
)
def test_other_sweeps_are_refused(text: str, says: str):
    with pytest.raises(ConfigError) as error:
        parse_sweep(text)
    assert says in str(error.value)


def test_seconds_to_the_target_and_where_the_fastest_changes(pair, paper):
    sweep = parse_sweep("rtt=0ms,10ms,50ms,100ms")
    table = crossover(pair, paper, sweep, 0.8, {})
    up_s = [8 * 8 * 30_000 / 20e6, 8 * 750_000 / 20e6]  # the client with three quarters
    for row, rtt in zip(table.seconds, (0, 0.01, 0.05, 0.1), strict=True):
        assert row[0] == pytest.approx(up_s[0] + 8 * rtt)
        assert row[1] == pytest.approx(up_s[1] + rtt)
    assert table.labels == ("floss r1", "floss r8")
    for row in table.nbytes:
        for one, nbytes in zip(pair, row, strict=True):
            last = one.target_point(0.8).round
            rounds = one.runs[0].record.rounds.to_pylist()[:last]
            assert nbytes == sum(r["down_bytes"] + r["up_bytes"] for r in rounds)
    assert table.winners() == [("floss r1",), ("floss r1",), ("floss r8",), ("floss r8",)]
    assert table.verdict() == (
        "the fastest changes from floss r1 to floss r8 between rtt 10ms and 50ms"
    )
    assert table.network == "paper-200-20"


def test_other_changes_hold_at_every_value(pair, paper):
    sweep = parse_sweep("rtt=0ms,50ms")
    slow = crossover(pair, paper, sweep, 0.8, {"up": "1Mbit/s"})
    assert slow.network == "paper-200-20, up 1Mbit/s"
    assert slow.seconds[0][1] == pytest.approx(8 * 750_000 / 1e6)
    assert slow.verdict() == "floss r1 is the fastest at every value"
    with pytest.raises(ConfigError, match="both swept and set"):
        crossover(pair, paper, sweep, 0.8, {"rtt": "1ms"})


def test_a_bad_value_is_named(pair):
    with pytest.raises(ConfigError, match="rtt: duration 'soon'"):
        crossover(pair, load_profile("lte"), parse_sweep("rtt=1ms,soon"), 0.8, {})


def test_the_common_target_is_what_every_configuration_reaches(tmp_path: Path):
    rows = [[(0.5, 1, 1, 0.0), (0.9, 1, 1, 0.0), (0.7, 1, 1, 0.0)], [(0.8, 1, 1, 0.0)]]
    paths = [make_run(tmp_path / str(i), one, rank=i + 1) for i, one in enumerate(rows)]
    assert common_target(replay_comparison(paths, "lte").configurations) == 0.8


def test_a_target_that_is_not_reached_has_no_time_and_does_not_win(pair, paper):
    table = crossover(pair, paper, parse_sweep("rtt=0ms"), 0.85, {})
    assert table.seconds[0][0] is not None
    assert table.seconds[0][1] is None
    assert table.winners() == [("floss r1",)]
    none = crossover(pair, paper, parse_sweep("rtt=0ms"), 0.95, {})
    assert none.winners() == [()]
    assert none.verdict() == "no configuration reaches 0.95"


def test_ties_and_several_changes_are_said():
    sweep = Sweep("up", ("1", "2", "3"))
    rows = ((1.0, 2.0), (1.0, 1.0), (2.0, 1.0))
    times = tuple(tuple(map(one_time, row)) for row in rows)
    table = Crossover("x", sweep, 0.5, ("a", "b"), times)
    assert table.seconds == [list(row) for row in rows]
    assert table.sureness() == [None, None, None]  # nothing is drawn
    assert table.winners() == [("a",), ("a", "b"), ("b",)]
    assert table.verdict() == (
        "the fastest changes from a to a = b between up 1 and 2; from a = b to b between up 2 and 3"
    )


def test_the_fastest_has_the_lowest_median_and_wins_on_some_fleets():
    slow, fast = TimeSpread((2.0, 4.0, 6.0), "simulated"), TimeSpread((3.0, 3.0, 3.5), "simulated")
    table = Crossover("x", Sweep("up", ("1", "2")), 0.5, ("a", "b"), ((slow, fast), (None, fast)))
    assert table.winners() == [("b",), ("b",)]
    assert table.sureness() == [pytest.approx(2 / 3), None]
