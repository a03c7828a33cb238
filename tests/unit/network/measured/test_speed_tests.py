"""Speed tests from CSV files: columns, units, and what is left out."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from floss_sim.errors import ConfigError
from floss_sim.network.measured.speed_tests import ReadOptions, SpeedTests, read_speed_tests

HEADER = "download_mbps,upload_mbps,rtt_ms"
ROWS = [f"{n},{n / 10},{n * 2}" for n in range(1, 31)]


def write(folder: Path, header: str = HEADER, rows: list[str] = ROWS) -> Path:
    path = folder / "tests.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def read(folder: Path, header: str = HEADER, rows: list[str] = ROWS, **asked) -> SpeedTests:
    return read_speed_tests(write(folder, header, rows), ReadOptions(**asked))


def refusal(folder: Path, header: str = HEADER, rows: list[str] = ROWS, **asked) -> str:
    with pytest.raises(ConfigError) as caught:
        read(folder, header, rows, **asked)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_rows_are_read_in_bits_per_second_and_seconds(tmp_path: Path):
    tests = read(tmp_path)
    assert tests.down_bits_per_s == pytest.approx(np.arange(1, 31) * 1e6)
    assert tests.up_bits_per_s == pytest.approx(np.arange(1, 31) * 1e5)
    assert tests.rtt_s == pytest.approx(np.arange(1, 31) * 2e-3)
    assert tests.weights.tolist() == [1.0] * 30
    assert (tests.left_out, tests.filtered, tests.source) == (0, 0, "tests.csv")
    assert tests.units == {"down": "Mbps", "up": "Mbps", "latency": "ms"}


def test_a_gzipped_file_with_a_byte_order_mark_reads_the_same(tmp_path: Path):
    plain = read(tmp_path)
    path = tmp_path / "tests.csv.gz"
    content = "\r\n".join([f"\ufeff{HEADER}", *ROWS, "", ""])
    path.write_bytes(gzip.compress(content.encode()))
    zipped = read_speed_tests(path, ReadOptions())
    assert zipped.down_bits_per_s.tolist() == plain.down_bits_per_s.tolist()
    assert zipped.left_out == 0


# columns


@pytest.mark.parametrize(
    ("header", "down", "up", "latency"),
    [
        ("avg_d_kbps,avg_u_kbps,avg_lat_ms", "avg_d_kbps", "avg_u_kbps", "avg_lat_ms"),
        ("rtt_ms,ul_mbps,dl_mbps", "dl_mbps", "ul_mbps", "rtt_ms"),
        ("Ping (ms),DL (Mbit/s),UL (Mbit/s)", "DL (Mbit/s)", "UL (Mbit/s)", "Ping (ms)"),
        ("downloadRate_bps,uploadRate_bps,lat_s", "downloadRate_bps", "uploadRate_bps", "lat_s"),
        (
            "avg_d_kbps,avg_u_kbps,avg_lat_ms,avg_lat_down_ms,avg_lat_up_ms,devices",
            "avg_d_kbps",
            "avg_u_kbps",
            "avg_lat_ms",
        ),
        ("updated,downtime,down_bps,up_bps,rtt_us", "down_bps", "up_bps", "rtt_us"),
    ],
)
def test_columns_are_found_by_their_words(tmp_path: Path, header, down, up, latency):
    width = header.count(",") + 1
    rows = [",".join(["7"] * width)] * 20
    assert read(tmp_path, header, rows).columns == {"down": down, "up": up, "latency": latency}


def test_columns_can_be_named(tmp_path: Path):
    header = "a_mbps,b_mbps,c_ms,download_mbps,upload_mbps,rtt_ms,n"
    rows = [f"{n},2,3,4,5,6,{n}" for n in range(1, 21)]
    tests = read(tmp_path, header, rows, down="a_mbps", up="b_mbps", latency="c_ms", weight="n")
    assert tests.down_bits_per_s == pytest.approx(np.arange(1, 21) * 1e6)
    assert set(tests.up_bits_per_s) == {2e6}
    assert tests.weights.tolist() == list(range(1, 21))


def test_one_column_may_serve_both_ways(tmp_path: Path):
    tests = read(tmp_path, down="download_mbps", up="download_mbps")
    assert tests.up_bits_per_s.tolist() == tests.down_bits_per_s.tolist()


@pytest.mark.parametrize("role", ["down", "up", "latency", "weight"])
def test_a_named_column_that_is_missing_is_refused_with_those_that_exist(tmp_path, role: str):
    said = refusal(tmp_path, **{role: "speed"})
    assert f"has no column 'speed' (--{role})" in said
    assert "it has download_mbps, upload_mbps, rtt_ms" in said


@pytest.mark.parametrize(
    ("header", "role"),
    [
        ("speed_mbps,upload_mbps,rtt_ms", "down"),
        ("download_mbps,other_mbps,rtt_ms", "up"),
        ("download_mbps,upload_mbps,jitter_ms", "latency"),
    ],
)
def test_a_role_without_a_column_is_refused_with_its_option(tmp_path: Path, header, role):
    said = refusal(tmp_path, header)
    assert f"no column name fits {role}; choose one with --{role}" in said
    assert ", ".join(header.split(",")) in said


def test_an_ambiguous_role_is_refused_with_its_candidates(tmp_path: Path):
    said = refusal(tmp_path, f"{HEADER},dl_kbps", [f"{row},1" for row in ROWS])
    assert "down could be download_mbps, dl_kbps; choose one with --down" in said


# units


@pytest.mark.parametrize(
    ("down", "bits"),
    [
        ("download_kbps", 1e3),
        ("download_Kbps", 1e3),
        ("download (kbit/s)", 1e3),
        ("download_bps", 1),
        ("download [Mbps]", 1e6),
        ("dl_gbps", 1e9),
        ("download MB/s", 8e6),
        ("download_kB/s", 8e3),
    ],
)
def test_a_unit_that_stands_in_the_name_is_used(tmp_path: Path, down: str, bits: float):
    tests = read(tmp_path, f"{down},upload_mbps,rtt_ms")
    assert tests.down_bits_per_s[0] == pytest.approx(bits)
    assert tests.up_bits_per_s[0] == pytest.approx(1e5)


@pytest.mark.parametrize(
    "down", ["download", "download_MBPS", "download Mb/s", "download_kbps_mbps"]
)
def test_a_rate_without_a_plain_unit_is_refused_and_never_guessed(tmp_path: Path, down: str):
    said = refusal(tmp_path, f"{down},upload_mbps,rtt_ms")
    assert repr(down) in said
    assert "--rate-unit" in said


@pytest.mark.parametrize("latency", ["rtt", "latency_min", "ping avg"])
def test_a_latency_without_a_unit_is_refused_and_never_guessed(tmp_path: Path, latency: str):
    said = refusal(tmp_path, f"download_mbps,upload_mbps,{latency}")
    assert repr(latency) in said
    assert "--latency-unit" in said


def test_stated_units_count_and_override_names(tmp_path: Path):
    tests = read(tmp_path, "down,up,rtt", rate_unit="kbit/s", latency_unit="s")
    assert (tests.down_bits_per_s[0], tests.up_bits_per_s[0], tests.rtt_s[0]) == (1e3, 1e2, 2)
    assert read(tmp_path, rate_unit="MB/s").down_bits_per_s[0] == 8e6


@pytest.mark.parametrize("asked", [{"rate_unit": "Mb"}, {"rate_unit": "ms"}, {"latency_unit": "x"}])
def test_an_unknown_unit_is_refused_with_the_valid_ones(tmp_path: Path, asked):
    assert "valid units: " in refusal(tmp_path, **asked)


# rows


@pytest.mark.parametrize("bad", ["", "0", "-3", "nan", "inf", "fast", "1e400"])
@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_a_row_that_lacks_a_number_above_zero_is_left_out_and_counted(tmp_path, bad, place: int):
    cells = ["1", "2", "3", "4"]
    cells[place] = bad
    rows = [f"{row},1" for row in ROWS]
    tests = read(tmp_path, f"{HEADER},n", [*rows[:7], ",".join(cells), *rows[7:]], weight="n")
    assert (tests.left_out, tests.weights.size) == (1, 30)
    assert tests.down_bits_per_s == pytest.approx(np.arange(1, 31) * 1e6)


def test_a_short_row_is_left_out_and_a_blank_line_is_nothing(tmp_path: Path):
    tests = read(tmp_path, rows=[*ROWS, "", "5,5"])
    assert (tests.left_out, tests.weights.size) == (1, 30)


def test_conditions_filter_rows_before_they_are_judged(tmp_path: Path):
    rows = [f"{row},4G,x" for row in ROWS] + ["0,0,0,3G,x"] * 5 + ["9,9,9,4G,y", "0,1,1,4G,x"]
    tests = read(tmp_path, f"{HEADER},rat,place", rows, where=("rat=4G", "place = x"))
    assert (tests.weights.size, tests.filtered, tests.left_out) == (30, 6, 1)
    assert tests.where == ("rat=4G", "place = x")


def test_conditions_must_name_a_column_and_a_value(tmp_path: Path):
    assert "has no column 'rat' (--where)" in refusal(tmp_path, where=("rat=4G",))
    assert "is not COLUMN=VALUE" in refusal(tmp_path, where=("rtt_ms",))


def test_too_few_usable_rows_are_refused_with_what_became_of_the_others(tmp_path: Path):
    assert read(tmp_path, rows=ROWS[:20]).weights.size == 20
    said = refusal(tmp_path, rows=[*ROWS[:19], "0,0,0", "0,0,0"])
    assert "19 usable rows, at least 20 are needed (2 left out" in said
    rows = [f"{row},3G" for row in ROWS]
    assert "0 usable rows" in refusal(tmp_path, f"{HEADER},rat", rows, where=("rat=4G",))


# files


def test_files_that_are_not_csv_are_refused_in_one_line(tmp_path: Path):
    cases = {
        "none.csv": None,
        "empty.csv": b"",
        "binary.csv": b"\xff\xfe\x00",
        "not.csv.gz": b"download_mbps",
        "cut.csv.gz": gzip.compress("\n".join([HEADER, *ROWS]).encode())[:-12],
    }
    for name, content in cases.items():
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ConfigError) as caught:
            read_speed_tests(path, ReadOptions())
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="cannot read"):
        read_speed_tests(tmp_path, ReadOptions())
