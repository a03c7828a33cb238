from __future__ import annotations

import math
import time
from fractions import Fraction

import numpy as np
import pytest

from floss_sim.errors import ConfigError, DensityError
from floss_sim.vectors.density import format_density, kept_count, parse_density
from floss_sim.vectors.top_k import top_k_mask


def vector(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def kept(values: np.ndarray, count: int) -> list[int]:
    return np.flatnonzero(top_k_mask(values, count)).tolist()


@pytest.mark.parametrize(
    ("given", "density"),
    [
        ("1/4", 0.25),
        (" 1/16 ", 0.0625),
        ("0.25", 0.25),
        ("1", 1.0),
        ("1.0", 1.0),
        ("1e-3", 0.001),
        ("1/3", 1 / 3),
        (0.5, 0.5),
        (1, 1.0),
    ],
)
def test_a_density_is_read_from_a_fraction_a_decimal_or_a_number(given, density: float):
    assert parse_density(given) == density
    assert type(parse_density(given)) is float


@pytest.mark.parametrize(
    "given",
    ["0", "0.0", "-1/4", "1.0001", "5/4", "2", "inf", "nan", "1e-400", 0, -0.5, 1.5, math.nan],
)
def test_a_density_outside_zero_to_one_is_refused_and_quoted(given):
    with pytest.raises(DensityError, match=r"outside \(0, 1\]") as caught:
        parse_density(given)
    assert repr(given) in str(caught.value)


@pytest.mark.parametrize("given", ["", "a quarter", "1/0", "1/4/2", "25%", "1 / x", "1/1.5"])
def test_text_that_is_no_density_is_refused(given: str):
    with pytest.raises(DensityError, match="not a number or fraction"):
        parse_density(given)


@pytest.mark.parametrize("given", ["1e9999999", "1e-9999999"])
def test_an_absurd_exponent_is_refused_at_once(given: str):
    before = time.process_time()
    with pytest.raises(DensityError):
        parse_density(given)
    assert time.process_time() - before < 0.1


def test_a_density_error_is_a_config_error():
    assert issubclass(DensityError, ConfigError)


@pytest.mark.parametrize(
    ("density", "text"),
    [
        (1.0, "1"),
        (0.25, "1/4"),
        (1 / 64, "1/64"),
        (1 / 3, "1/3"),
        (0.3, "3/10"),
        (1 / 65536, "1/65536"),
        (math.pi / 10, "0.314159"),
    ],
)
def test_a_density_is_written_as_a_fraction_where_it_is_a_simple_one(density: float, text: str):
    assert format_density(density) == text


def test_a_written_fraction_reads_back_exactly():
    for denominator in (2, 3, 7, 16, 100, 1024, 65536):
        for numerator in range(1, min(denominator, 40) + 1):
            density = numerator / denominator
            assert parse_density(format_density(density)) == density


@pytest.mark.parametrize("entries", [1, 2, 3, 16, 17, 8970, 999_983])
def test_the_kept_count_is_the_floor_of_density_times_entries_and_at_least_one(entries: int):
    for power in range(11):
        exact = math.floor(Fraction(1, 2**power) * entries)
        assert kept_count(entries, 2.0**-power) == max(1, exact)


@pytest.mark.parametrize("denominator", [3, 5, 6, 7, 9, 10, 12])
def test_a_unit_fraction_of_a_multiple_keeps_that_share_exactly(denominator: int):
    for multiple in (1, 2, 10, 1000, 12_345):
        assert kept_count(denominator * multiple, 1 / denominator) == multiple


def test_the_largest_magnitudes_are_kept_whatever_their_sign():
    assert kept(vector(1, -5, 3, -2, 4), 3) == [1, 2, 4]


def test_ties_at_the_threshold_go_to_the_lowest_index():
    assert kept(vector(2, -2, 1, 2, 3, -2), 3) == [0, 1, 4]
    assert kept(np.zeros(6, np.float32), 2) == [0, 1]
    assert kept(vector(0.0, -0.0, 0.0), 1) == [0]


def test_infinities_are_the_largest_magnitudes():
    assert kept(vector(1, -np.inf, 3, np.inf), 2) == [1, 3]
    assert kept(vector(np.inf, 3, np.inf, -np.inf), 2) == [0, 2]


def test_subnormal_values_are_ranked_above_zero():
    assert kept(vector(0, 1e-45, 0, -3e-45), 1) == [3]
    assert kept(vector(0, 1e-45, 0, -3e-45), 2) == [1, 3]


def test_the_values_are_left_as_they_were():
    values = vector(3, -1, 2, -2)
    values.setflags(write=False)
    top_k_mask(values, 2)
    assert values.tolist() == [3, -1, 2, -2]


@pytest.mark.parametrize("count", [-1, 0, 4])
def test_a_count_outside_one_to_all_is_refused(count: int):
    with pytest.raises(ValueError, match=f"cannot keep {count} of 3"):
        top_k_mask(vector(1, 2, 3), count)


def test_nothing_can_be_kept_of_an_empty_vector():
    with pytest.raises(ValueError, match="of 0 entries"):
        top_k_mask(vector(), 1)
