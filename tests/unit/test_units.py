from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from floss_sim.errors import ConfigError, UnitError
from floss_sim.units import (
    common_unit,
    duration_texts,
    format_bytes,
    format_duration,
    format_error,
    format_predicted_bytes,
    format_rate,
    parse_bytes,
    parse_duration,
    parse_rate,
)


@pytest.mark.parametrize(
    ("text", "bits_per_s"),
    [
        ("1 bit/s", 1),
        ("3 kbit/s", 3_000),
        ("200 Mbit/s", 200_000_000),
        ("1.5 Gbit/s", 1_500_000_000),
        ("7 bps", 7),
        ("56 kbps", 56_000),
        ("20Mbps", 20_000_000),
        ("2 Gbps", 2_000_000_000),
        ("1 kB/s", 8_000),
        ("25 MB/s", 200_000_000),
        ("0.5 GB/s", 4_000_000_000),
    ],
)
def test_a_rate_is_read_in_bits_per_second(text: str, bits_per_s: float):
    assert parse_rate(text) == bits_per_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250 us", 0.00025),
        ("36 ms", 0.036),
        ("90s", 90),
        ("2.5 min", 150),
        ("36h", 129_600),
        ("2 d", 172_800),
        ("0 ms", 0),
        ("1e3 s", 1_000),
        ("+.5 s", 0.5),
        ("  4 s\n", 4),
    ],
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float):
    assert parse_duration(text) == pytest.approx(seconds, rel=1e-15)


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [
        ("1 B", 1),
        ("68.2 kB", 68_200),
        ("500MB", 500_000_000),
        ("2GB", 2_000_000_000),
        ("1 TB", 1_000_000_000_000),
        ("1 KiB", 1_024),
        ("3 MiB", 3_145_728),
        ("0.5 GiB", 536_870_912),
    ],
)
def test_a_size_is_read_in_whole_bytes(text: str, nbytes: int):
    size = parse_bytes(text)
    assert size == nbytes
    assert isinstance(size, int)


def test_a_bit_rate_is_an_eighth_of_the_byte_rate_of_the_same_prefix():
    for prefix in ("k", "M", "G"):
        assert parse_rate(f"8 {prefix}bit/s") == parse_rate(f"1 {prefix}B/s")


@pytest.mark.parametrize("parse", [parse_rate, parse_duration, parse_bytes])
@pytest.mark.parametrize(
    "text",
    ["", "s", "5", "1 parsec", "1,5 s", "1 2 s", "ten MB", "nan s", "inf s", "1 s s", "0x10 B"],
)
def test_text_that_is_no_quantity_is_refused(parse, text: str):
    with pytest.raises(UnitError, match=r".+"):
        parse(text)


@pytest.mark.parametrize("parse", [parse_rate, parse_duration, parse_bytes])
@pytest.mark.parametrize("value", [5, 2.0, None, True, ["1 s"]])
def test_a_bare_number_is_refused_because_its_unit_is_unknown(parse, value: object):
    with pytest.raises(UnitError):
        parse(value)


@pytest.mark.parametrize("unit", ["MBps", "mbps", "Mb/s", "mbit/s", "Mbit", "MB", "s"])
def test_a_rate_whose_unit_could_mean_something_else_is_refused(unit: str):
    with pytest.raises(UnitError, match="valid units: bit/s, kbit/s"):
        parse_rate(f"20 {unit}")


@pytest.mark.parametrize("unit", ["mb", "Mb", "MBit", "GiBit", "bytes", "Mbit/s", "m"])
def test_a_size_whose_unit_could_mean_something_else_is_refused(unit: str):
    with pytest.raises(UnitError, match="valid units: B, kB"):
        parse_bytes(f"20 {unit}")


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_rate, "0 Mbit/s"),
        (parse_rate, "-1 Mbit/s"),
        (parse_rate, "1e-400 Mbit/s"),
        (parse_rate, "1e308 Gbit/s"),
        (parse_rate, "0.0009 bit/s"),
        (parse_rate, "2e9 Gbit/s"),
        (parse_duration, "-1 ms"),
        (parse_duration, "1e400 s"),
        (parse_duration, "1.1e18 s"),
        (parse_bytes, "0 B"),
        (parse_bytes, "-2 GB"),
        (parse_bytes, "0.0009 kB"),
        (parse_bytes, "1e300 GB"),
        (parse_bytes, "1.1e6 TB"),
    ],
)
def test_a_quantity_out_of_range_is_refused_and_quoted(parse, text: str):
    with pytest.raises(UnitError) as caught:
        parse(text)
    assert repr(text) in str(caught.value)


def test_a_unit_error_is_a_config_error_so_that_commands_exit_with_2():
    assert issubclass(UnitError, ConfigError)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (format_bytes(0), "0 B"),
        (format_bytes(999), "999 B"),
        (format_bytes(1_000), "1 kB"),
        (format_bytes(68_188), "68.2 kB"),
        (format_predicted_bytes(42_840, 0.041), "42.8 kB ± 4 %"),
        (format_predicted_bytes(42_840, 0.001), "42.8 kB ± 1 %"),
        (format_predicted_bytes(42_840, 0.5), "42.8 kB (28.6 kB to 85.7 kB)"),
        (format_predicted_bytes(42_840, 1.19), "42.8 kB (at least 19.6 kB)"),
        (format_error(0.041), "± 4 %"),
        (format_error(0.5), "67 to 200 % of it"),
        (format_error(1.19), "at least 46 % of it"),
        (format_bytes(1_340_000), "1.34 MB"),
        (format_bytes(250_000_000), "250 MB"),
        (format_bytes(2e9), "2 GB"),
        (format_bytes(3.5e12), "3.5 TB"),
        (format_bytes(5e15), "5000 TB"),
        (format_duration(0), "0 ms"),
        (format_duration(0.0412), "41.2 ms"),
        (format_duration(1.5), "1.5 s"),
        (format_duration(90), "1.5 min"),
        (format_duration(9_000), "2.5 h"),
        (format_duration(129_600), "1.5 d"),
        (format_rate(20e6), "20 Mbit/s"),
        (format_rate(56e3), "56 kbit/s"),
        (format_rate(1e9), "1 Gbit/s"),
        (format_rate(12.5), "12.5 bit/s"),
        (format_bytes(-68_188), "-68.2 kB"),
    ],
)
def test_quantities_are_written_with_three_digits_and_a_fitting_unit(text: str, written: str):
    assert text == written


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (format_bytes(999_999), "1 MB"),
        (format_bytes(999_499), "999 kB"),
        (format_rate(999_999_999), "1 Gbit/s"),
        (format_duration(59.999), "1 min"),
        (format_duration(0.99999), "1 s"),
        (format_duration(86_399), "1 d"),
        (format_duration(59.94), "59.9 s"),
    ],
)
def test_a_quantity_that_rounds_up_to_the_next_unit_is_written_in_it(text: str, written: str):
    assert text == written


@pytest.mark.parametrize("digits", [1.0, 1.005, 4.4444, 5.5555, 9.994, 9.9999])
def test_what_is_written_reads_back_to_three_digits(digits: float):
    for exponent in range(16):
        value = digits * 10**exponent
        assert parse_rate(format_rate(value)) == pytest.approx(value, rel=0.00501)
        assert parse_duration(format_duration(value)) == pytest.approx(value, rel=0.00501)
        assert parse_bytes(format_bytes(round(value))) == pytest.approx(round(value), rel=0.00501)


@pytest.mark.parametrize(
    ("seconds", "texts"),
    [
        ((58, 72), ["58 s", "72 s"]),
        ((1.69, 0.506, 2.17), ["1.69 s", "0.506 s", "2.17 s"]),
        ((12, 20, 222), ["12 s", "20 s", "222 s"]),
        ((30, 7200), ["0.5 min", "120 min"]),
        ((600, 612), ["10 min", "10.2 min"]),  # as each of them alone
        ((0, 0.3), ["0 ms", "300 ms"]),
        ((0,), ["0 ms"]),
        ((), []),
        ((0.9, 3000), ["900 ms", "50 min"]),  # 0.9 s would be 0.015 min
        ((0.0495, 2.73), ["0.0495 s", "2.73 s"]),
        ((0.005, 2.73), ["5 ms", "2.73 s"]),
        ((6, 3000), ["0.1 min", "50 min"]),
    ],
)
def test_durations_of_a_column_have_one_unit(seconds: tuple[float, ...], texts: list[str]):
    assert duration_texts(seconds) == texts


@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=9))
def test_a_column_keeps_three_digits_and_its_order(seconds: list[float]):
    texts = duration_texts(seconds)
    for text, value in zip(texts, seconds, strict=True):
        assert parse_duration(text) == pytest.approx(value, rel=0.00501)
    units = {text.split()[1] for text in texts}
    unit = common_unit(seconds)
    assert units == {unit} if unit else len(units) > 1
    if unit:
        assert max(seconds) < 1000 * parse_duration(f"1 {unit}") or unit == "d"
