"""Hand-made records, exact numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_runs import make_run

from floss_sim.analysis.comparison import (
    Axis,
    Comparison,
    CurveLimit,
    CurvePoint,
    compare,
    parse_limit,
)
from floss_sim.analysis.time_spread import TimeSpread
from floss_sim.errors import ConfigError, RecordError
from floss_sim.records import RunFolder

LOW = [(0.5, 100, 20, 1.0), (None, 100, 20, 2.0), (0.75, 100, 20, 3.0)]
HIGH = [(0.625, 100, 28, 2.0), (0.7, 100, 20, 3.0), (1.0, 100, 20, 4.0)]


def recorded(seconds: float) -> TimeSpread:
    return TimeSpread((seconds,), "recorded")


def made(tmp_path: Path, *runs: dict) -> Comparison:
    """Compare runs of given ``rows`` and other settings."""
    return compare([make_run(tmp_path / str(i), **run) for i, run in enumerate(runs)])


def test_seeds_become_one_configuration_of_means_and_ranges(tmp_path: Path):
    comparison = made(tmp_path, {"rows": HIGH, "seed": 9}, {"rows": LOW, "seed": 1})
    (configuration,) = comparison.configurations
    assert [run.seed for run in configuration.runs] == [1, 9]
    assert configuration.label == "floss"
    sd = pytest.approx(0.125 / 2**0.5), pytest.approx(0.25 / 2**0.5)
    assert configuration.points == (  # round 2, which one seed alone has evaluated, is no point
        CurvePoint(1, 1.5, 124.0, 0.5625, sd[0], 0.5, 0.625, recorded(1.5)),
        CurvePoint(3, 3.5, 364.0, 0.875, sd[1], 0.75, 1.0, recorded(3.5)),
    )
    assert comparison.notes == ()
    assert comparison.task == "made"


def test_one_seed_has_no_deviation(tmp_path: Path):
    (configuration,) = made(tmp_path, {"rows": LOW}).configurations
    assert configuration.points[-1] == CurvePoint(
        3, 3.0, 360.0, 0.75, None, 0.75, 0.75, recorded(3.0)
    )


def test_a_reading_holds_bytes_of_a_client_and_round_and_the_known_test_accuracies(tmp_path: Path):
    comparison = made(
        tmp_path,
        {"rows": LOW, "seed": 0, "test": {3: 0.5}},
        {"rows": HIGH, "seed": 1, "test": {1: 0.25, 3: 0.75}},
        {"rows": HIGH, "seed": 2},
    )
    (reading,) = comparison.readings()
    assert reading.down_bytes == 50
    assert reading.up_bytes == pytest.approx((10 + (14 + 10 + 10) / 3 * 2) / 3)
    assert reading.test_accuracies == (0.5, 0.75)
    assert reading.test_accuracy == 0.625
    (early,) = comparison.readings(CurveLimit(Axis.ROUND, 2))
    assert early.point.round == 1
    assert early.test_accuracies == (0.25,)
    assert early.up_bytes == pytest.approx((10 + 14 + 14) / 3)


@pytest.mark.parametrize(
    ("limit", "round_"),
    [
        ("2", 1),
        ("3", 3),
        ("1000", 3),
        ("123B", None),
        ("124B", 1),
        ("363B", 1),
        ("364B", 3),
        ("1.49s", None),
        ("1500ms", 1),
        ("3.49s", 1),
        ("3.5s", 3),
    ],
)
def test_the_last_mean_within_a_limit_is_read_the_limit_included(tmp_path: Path, limit, round_):
    comparison = made(tmp_path, {"rows": LOW, "seed": 0}, {"rows": HIGH, "seed": 1})
    (reading,) = comparison.readings(parse_limit(limit))
    assert (reading.point and reading.point.round) == round_
    if round_ is None:
        assert (reading.down_bytes, reading.up_bytes, reading.test_accuracy) == (None, None, None)


def test_limits_of_three_kinds():
    assert parse_limit("100") == CurveLimit(Axis.ROUND, 100)
    assert parse_limit("20MB") == CurveLimit(Axis.BYTES, 20e6)
    assert parse_limit("1.5 min") == CurveLimit(Axis.SECONDS, 90)


@pytest.mark.parametrize("text", ["", "0", "-3", "1.5", "MB", "20 apples", "-1s", "1e400s"])
def test_other_limits_are_refused(text: str):
    with pytest.raises(ConfigError, match="valid: 100"):
        parse_limit(text)


def test_the_best_is_first_fewer_bytes_break_ties_and_what_has_no_point_is_last(tmp_path: Path):
    cheap = [(0.75, 1, 1, 9.0)]
    comparison = made(
        tmp_path,
        {"rows": LOW, "rank": 1},
        {"rows": [(0.9, 10**6, 1, 1.0)], "rank": 2},
        {"rows": cheap, "rank": 3},
        {"rows": HIGH, "rank": 4},
    )

    def order(limit: CurveLimit | None = None) -> list[str]:
        return [reading.configuration.label for reading in comparison.readings(limit)]

    assert order() == ["floss r4", "floss r2", "floss r3", "floss r1"]
    assert order(parse_limit("2B")) == ["floss r3", "floss r1", "floss r2", "floss r4"]


def test_a_target_is_reached_by_the_mean_not_by_a_seed(tmp_path: Path):
    (configuration,) = made(tmp_path, {"rows": LOW}, {"rows": HIGH, "seed": 1}).configurations
    assert configuration.target_point(0.5625).round == 1
    assert configuration.target_point(0.6).round == 3
    assert configuration.target_point(0.9) is None


def test_another_network_is_another_configuration_and_is_said(tmp_path: Path):
    comparison = made(
        tmp_path,
        {"rows": LOW, "timing": "a" * 16},
        {"rows": LOW, "timing": "b" * 16},
        {"rows": LOW, "timing": "b" * 16, "method": "dense", "rank": 8},
    )
    assert [c.label for c in comparison.configurations] == ["floss r4 timing aaaaaaaa",
                                                            "floss r4", "dense r8"]  # fmt: skip
    assert "timing bbbbbbbb" in comparison.notes[0]
    assert comparison.notes[1].startswith("seconds: on the network and round policy of each")


def test_equal_settings_under_two_names_are_one_configuration(tmp_path: Path):
    runs = [{"rows": LOW, "method": "floss"}, {"rows": HIGH, "method": "dense", "seed": 1}]
    (configuration,) = made(tmp_path, *runs).configurations
    assert (configuration.method, len(configuration.runs)) == ("dense", 2)


def test_of_equal_runs_the_longer_counts(tmp_path: Path):
    comparison = made(tmp_path, {"rows": LOW[:1]}, {"rows": LOW}, {"rows": HIGH, "seed": 1})
    (configuration,) = comparison.configurations
    assert [run.path.name for run in configuration.runs] == ["1", "2"]
    assert comparison.notes == (
        f"{tmp_path / '0'} left out: {tmp_path / '1'} is the same run",
    )  # fmt: skip


def test_a_run_without_an_evaluated_round_is_left_out(tmp_path: Path):
    comparison = made(tmp_path, {"rows": []}, {"rows": [LOW[1]], "seed": 1}, {"rows": LOW})
    assert len(comparison.configurations) == 1
    assert [note.split(": ")[1] for note in comparison.notes] == ["it holds no evaluated round"] * 2


def test_seeds_that_end_at_different_rounds_are_read_where_all_are_and_said(tmp_path: Path):
    comparison = made(tmp_path, {"rows": LOW}, {"rows": HIGH[:1], "seed": 1})
    assert comparison.readings()[0].point.round == 1
    assert comparison.notes == ("floss: some seeds end at round 1, others go on to 3",)


@pytest.mark.parametrize(
    ("runs", "says"),
    [
        ([{"rows": []}], "no run holds an evaluated round"),
        (
            [{"rows": LOW}, {"rows": [LOW[1], LOW[0]], "seed": 1}],
            r"share no evaluated round: .*0, .*1",
        ),
        (
            [{"rows": LOW}, {"rows": LOW, "task": "other"}],
            r"different tasks cannot be compared: made \(data c8a22775\) in .*0, "
            r"other \(data c8a22775\) in .*1",
        ),
        (
            [{"rows": LOW}, {"rows": LOW, "data": "d" * 16}],
            r"made \(data c8a22775\) in .*0, made \(data dddddddd\) in .*1",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path: Path, runs, says):
    with pytest.raises(RecordError, match=says):
        made(tmp_path, *runs)


def test_a_run_that_diverged_is_left_out_with_its_reason(tmp_path: Path):
    make_run(tmp_path / "wild", [])
    RunFolder.read(tmp_path / "wild").note_divergence("the update of client 3 is not finite")
    comparison = compare([tmp_path / "wild", make_run(tmp_path / "tame", LOW)])
    assert comparison.notes == (
        f"{tmp_path / 'wild'} left out: the update of client 3 is not finite",
    )
