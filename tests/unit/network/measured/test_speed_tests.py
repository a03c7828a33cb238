"""Speed tests from CSV files: columns, units, and what is left out."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import numpy as np
import pytest

from floss_sim.errors import ConfigError
from floss_sim.network.measured.cell_numbers import readings
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


@pytest.mark.parametrize(
    "header",
    [
        "download_mbps,upload_mbps,lat,lon", "download_mbps,upload_mbps,latitude,longitude",
        "download_mbps,upload_mbps,lat (deg),lng", "download_mbps,upload_mbps,Lat \u00b0,x",
        "download_mbps,upload_mbps,lat,x", "download_mbps,upload_mbps,ping_jitter_ms,x",
    ],
)  # fmt: skip
def test_degrees_and_jitter_are_no_latency(tmp_path: Path, header: str):
    rows = [f"{row},10.7" for row in ROWS]
    for unit in (None, "ms"):
        said = refusal(tmp_path, header, rows, latency_unit=unit)
        assert "no column name fits latency; choose one with --latency: download_mbps" in said
    degrees = header.split(",")[2]
    if header.endswith(("lon", "lng", "longitude", "\u00b0,x")):
        said = refusal(tmp_path, header, rows, latency=degrees, latency_unit="ms")
        assert "holds degrees, not a latency" in said


def test_a_latency_is_found_beside_degrees(tmp_path: Path):
    rows = [f"60.39,5.32,{row}" for row in ROWS]
    for latency in ("lat_ms", "avg_lat_ms", "ping (ms)"):
        tests = read(tmp_path, f"lat,lon,download_mbps,upload_mbps,{latency}", rows)
        assert tests.columns["latency"] == latency
        assert tests.rtt_s[0] == pytest.approx(2e-3)


def test_a_single_letter_counts_only_with_a_unit(tmp_path: Path):
    rows = [f"{row},7" for row in ROWS]
    assert read(tmp_path, "avg_d_mbps,avg_u_mbps,rtt_ms,d", rows).columns["down"] == "avg_d_mbps"
    assert "no column name fits down" in refusal(tmp_path, "d,u,rtt_ms", rate_unit="Mbit/s")


def test_a_column_that_exists_twice_is_refused_where_it_is_asked_for(tmp_path: Path):
    rows = [f"{row},7" for row in ROWS]
    assert "more than once (--where)" in refusal(
        tmp_path, f"{HEADER},x,x", [f"{row},7" for row in rows], where=("x=7",)
    )
    assert "more than once (--latency)" in refusal(
        tmp_path, f"{HEADER},rtt_ms", rows, latency="rtt_ms"
    )
    assert read(tmp_path, f"{HEADER},x,x", [f"{row},7" for row in rows]).weights.size == 30


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
        ("download KB/s", 8e3),
        ("download (GB/s)", 8e9),
        ("download (B/s)", 8),
        ("download MiB/s", 8 * 2**20),
        ("download Mb/s", 1e6),
        ("download (kb/s)", 1e3),
        ("download Gb/s", 1e9),
        ("download_b/s", 1),
        ("download_MBps", 8e6),
        ("download_kBps", 8e3),
        ("download_GBps", 8e9),
        ("download_Bps", 8),
        ("downloadMbps", 1e6),
        ("download Mbit/sec", 1e6),
        ("DOWNLOAD (MBIT/S)", 1e6),
        ("download MBit/s", 1e6),
        ("download [Mbits/s]", 1e6),
        ("download Mbps avg", 1e6),
        ("dl_p50_mbps", 1e6),
        ("down_bits_per_s", 1),
        ("download megabits per second", 1e6),
        ("download_kilobytes_per_second", 8e3),
        ("mbps_download", 1e6),
    ],
)
def test_a_unit_that_stands_in_the_name_is_used(tmp_path: Path, down: str, bits: float):
    tests = read(tmp_path, f"{down},upload_mbps,rtt_ms")
    assert tests.down_bits_per_s[0] == pytest.approx(bits)
    assert tests.up_bits_per_s[0] == pytest.approx(1e5)


@pytest.mark.parametrize(
    "down",
    [
        "download",
        "download_MBPS",
        "download mb/s",
        "DOWNLOAD MB/S",
        "download_kbps_mbps",
        "download_mbit",
        "download_100mbps",
        "download MB",
    ],
)
def test_a_rate_without_a_plain_unit_is_refused_and_never_guessed(tmp_path: Path, down: str):
    said = refusal(tmp_path, f"{down},upload_mbps,rtt_ms")
    assert repr(down) in said
    assert "--rate-unit" in said


@pytest.mark.parametrize(
    ("latency", "seconds"),
    [
        ("rtt_us", 1e-6), ("rtt (us)", 1e-6), ("rtt (\u00b5s)", 1e-6), ("rtt [\u03bcs]", 1e-6),
        ("rtt_usec", 1e-6), ("ping in microseconds", 1e-6), ("rtt_ms", 1e-3), ("rttMs", 1e-3),
        ("RTT (MS)", 1e-3), ("PING_MS", 1e-3), ("latency msec", 1e-3), ("ping, \u33b3", 1e-3),
        ("ms_latency", 1e-3), ("server's ping (ms)", 1e-3), ("latency_min_ms", 1e-3),
        ("rtt_s", 1), ("ping (s)", 1), ("latency(s)", 1), ("RTT_S", 1), ("latency (sec)", 1),
        ("latency seconds", 1), ("rtt_s_avg", 1), ("rtt (s), mean", 1),
    ],
)  # fmt: skip
def test_a_unit_of_time_that_stands_in_the_name_is_used(tmp_path: Path, latency, seconds: float):
    header = ",".join(f'"{name}"' for name in ("download_mbps", "upload_mbps", latency))
    assert read(tmp_path, header).rtt_s == pytest.approx(seconds * 2 * np.arange(1, 31))


@pytest.mark.parametrize(
    "latency",
    [
        "rtt", "latency_min", "ping avg", "server's ping", "server\u2019s ping", "ping US",
        "ping_us_east", "ping to us", "server(s) ping", "ping of server(s)", "ping_10s",
        "ping 5 s", "rtt ms/us", "rtt_us_ms", "ping_s_server", "second ping",
        "latency \u043c\u0441",
    ],
)  # fmt: skip
def test_a_latency_without_a_unit_is_refused_and_never_guessed(tmp_path: Path, latency: str):
    said = refusal(tmp_path, f"download_mbps,upload_mbps,{latency}")
    assert repr(latency) in said
    assert "--latency-unit" in said


def test_stated_units_count_and_override_names(tmp_path: Path):
    tests = read(tmp_path, "down,up,rtt", rate_unit="kbit/s", latency_unit="s")
    assert (tests.down_bits_per_s[0], tests.up_bits_per_s[0], tests.rtt_s[0]) == (1e3, 1e2, 2)
    assert read(tmp_path, rate_unit="MB/s").down_bits_per_s[0] == 8e6
    for stated, bits in (("Mbps", 1e6), ("MBps", 8e6), ("Mb/s", 1e6), ("kB/s", 8e3), ("B/s", 8)):
        assert read(tmp_path, rate_unit=stated).down_bits_per_s[0] == bits
    for stated, seconds in (("\u00b5s", 2e-6), ("us", 2e-6), ("usec", 2e-6), ("ms", 2e-3)):
        assert read(tmp_path, latency_unit=stated).rtt_s[0] == pytest.approx(seconds)
    for stated in ("MBPS", "mb/s"):
        assert "may mean bits or bytes" in refusal(tmp_path, rate_unit=stated)


@pytest.mark.parametrize("asked", [{"rate_unit": "Mb"}, {"rate_unit": "ms"}, {"latency_unit": "x"}])
def test_an_unknown_unit_is_refused_with_the_valid_ones(tmp_path: Path, asked):
    assert "valid units: " in refusal(tmp_path, **asked)


# rows


@pytest.mark.parametrize("bad", ["", "0", "-3", "nan", "N/A", "-"])
@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_a_row_that_lacks_a_number_above_zero_is_left_out_and_counted(tmp_path, bad, place: int):
    cells = ["1", "2", "3", "4"]
    cells[place] = bad
    rows = [f"{row},1" for row in ROWS]
    tests = read(tmp_path, f"{HEADER},n", [*rows[:7], ",".join(cells), *rows[7:]], weight="n")
    assert (tests.left_out, tests.weights.size) == (1, 30)
    assert tests.down_bits_per_s == pytest.approx(np.arange(1, 31) * 1e6)


@pytest.mark.parametrize(
    "bad",
    ["fast", "1_000", "5 ms", "1e18", "1,2,3", "0x10", "\u0661\u0662", "inf", "-Infinity", "1e400"],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_unreadable_rows_are_an_error_above_one_in_a_hundred(tmp_path: Path, bad: str, place: int):
    cells = ["1", "2", "3"]
    cells[place] = f'"{bad}"'
    few = [*ROWS * 4, ",".join(cells)]
    tests = read(tmp_path, rows=few)
    assert (tests.unreadable, tests.left_out, tests.weights.size) == (1, 0, 120)
    said = refusal(tmp_path, rows=[*ROWS * 3, ",".join(cells)])
    assert "1 of 91 rows cannot be read (line 92 has " in said
    assert "at most 1% may be" in said
    tests = read(tmp_path, rows=[*ROWS, *[",".join(cells)] * 20], skip_bad=True)
    assert (tests.unreadable, tests.left_out, tests.weights.size) == (20, 0, 30)


@pytest.mark.parametrize("row", ["5,5", "5,5,5,5", "5", "105,8,13,2,32"])
def test_a_row_of_another_width_is_unreadable(tmp_path: Path, row: str):
    tests = read(tmp_path, rows=[*ROWS, row], skip_bad=True)
    assert (tests.unreadable, tests.weights.size) == (1, 30)
    cells = row.count(",") + 1
    assert f"line 32 has {cells} cells for 3 columns" in refusal(tmp_path, rows=[*ROWS, row])


def test_blank_lines_and_delimiters_at_the_end_are_nothing(tmp_path: Path):
    rows = [*(f"{row}," for row in ROWS), "", "  ", ROWS[0], f"{ROWS[0]},,"]
    for header in (HEADER, f"{HEADER},"):
        tests = read(tmp_path, header, rows)
        assert (tests.unreadable, tests.left_out, tests.weights.size) == (0, 0, 32)


def test_lines_within_a_stray_quote_are_unreadable_or_refused(tmp_path: Path):
    rows = [*ROWS * 4, '"1,2,3', *ROWS * 4]
    assert "is not a CSV file in UTF-8" in refusal(tmp_path, rows=rows)
    said = refusal(tmp_path, rows=[*ROWS * 4, '"1,2,3', *ROWS, '1,2,3"'])
    assert "32 of 152 rows cannot be read (line 153 has 1 cells for 3 columns)" in said


def test_conditions_filter_rows_before_they_are_judged(tmp_path: Path):
    rows = [f"{row},4G,x" for row in ROWS] + ["0,0,0,3G,x"] * 5 + ["9,9,9,4G,y", "0,1,1,4G,x"]
    tests = read(tmp_path, f"{HEADER},rat,place", rows, where=("rat=4G", "place = x"))
    assert (tests.weights.size, tests.filtered, tests.left_out) == (30, 6, 1)
    assert tests.where == ("rat=4G", "place = x")


def test_conditions_must_name_a_column_and_a_value(tmp_path: Path):
    assert "has no column 'rat' (--where)" in refusal(tmp_path, where=("rat=4G",))
    assert "is not COLUMN=VALUE" in refusal(tmp_path, where=("rtt_ms",))


def test_conditions_that_no_row_meets_are_told_the_values_that_exist(tmp_path: Path):
    rows = [f"{row},{rat},{place}" for row in ROWS for rat, place in (("3G", "x"), ("5G", "y"))]
    rows.append(f"{ROWS[0]},5G,y")
    said = refusal(tmp_path, f"{HEADER},rat,place", rows, where=("rat=4g",))
    assert "0 usable rows: none has rat=4g; rat has 5G (31), 3G (30)" in said
    said = refusal(tmp_path, f"{HEADER},rat,place", rows, where=("rat=3G", "place=y"))
    assert "none meets all conditions of --where at once" in said
    said = refusal(
        tmp_path, f"{HEADER},rat", [f"{ROWS[0]},{n}" for n in range(40)], where=("rat=",)
    )
    assert "none has rat=; rat has 0 (1), 1 (1)" in said
    assert "and 28 others" in said


def test_too_few_usable_rows_are_refused_with_what_became_of_the_others(tmp_path: Path):
    assert read(tmp_path, rows=ROWS[:20]).weights.size == 20
    said = refusal(tmp_path, rows=[*ROWS[:19], "0,0,0", "0,0,0"])
    assert "19 usable rows, at least 20 are needed (2 left out" in said
    rows = [f"{row},3G" for row in ROWS]
    assert "0 usable rows" in refusal(tmp_path, f"{HEADER},rat", rows, where=("rat=4G",))


# delimiters


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("quoted", [False, True])
def test_a_delimiter_is_found_and_reported(tmp_path: Path, delimiter: str, quoted: bool):
    quote = '"' if quoted else ""
    lines = [
        delimiter.join(f"{quote}{cell}{quote}" for cell in line.split(","))
        for line in [HEADER, *ROWS]
    ]
    tests = read(tmp_path, lines[0], lines[1:])
    assert (tests.delimiter, tests.weights.size) == (delimiter, 30)
    assert tests.down_bits_per_s.tolist() == read(tmp_path).down_bits_per_s.tolist()


def test_a_delimiter_that_fits_the_rows_is_found_among_several(tmp_path: Path):
    rows = [row.replace(",", ";") for row in ROWS]
    tests = read(tmp_path, "download, mbps;upload_mbps;rtt_ms", rows)
    assert (tests.delimiter, tests.columns["down"]) == (";", "download, mbps")
    rows = [f"{n},5;{n / 10};{n * 2}" for n in range(1, 31)]
    said = refusal(tmp_path, "download, mbps;upload_mbps;rtt_ms", rows[:1])
    assert "no column name fits" in said or "delimit" in said


def test_a_delimiter_can_be_stated_also_by_a_first_line(tmp_path: Path):
    rows = [row.replace(",", "/") for row in ROWS]
    tests = read(tmp_path, "download_mbps/upload_mbps/rtt_ms", rows, delimiter="/")
    assert tests.delimiter == "/"
    rows = [row.replace(",", "\t") for row in ROWS]
    assert read(tmp_path, HEADER.replace(",", "\t"), rows, delimiter="tab").delimiter == "\t"
    tests = read(
        tmp_path, "sep=;", [HEADER.replace(",", ";"), *(r.replace(",", ";") for r in ROWS)]
    )
    assert (tests.delimiter, tests.weights.size) == (";", 30)
    for bad in ("", ";;", '"', "a", "5", "."):
        assert "--delimiter" in refusal(tmp_path, delimiter=bad)


# decimal signs and thousands


def test_thousands_are_recognised_where_small_numbers_have_none(tmp_path: Path):
    rates = [391, 831, 704, 262, 950, *range(1000, 300_000, 1000)]
    header = "download_kbps,upload_kbps,ping_ms"
    rows = [f'"{rate:,}","{rate // 8:,}",{20 + rate % 50}' for rate in rates]
    tests = read(tmp_path, header, rows)
    assert (tests.decimal, tests.unreadable, tests.left_out) == (".", 0, 0)
    assert tests.down_bits_per_s == pytest.approx(1e3 * np.array(rates))
    german = [
        row.replace('","', ";").replace('",', ";").strip('"').replace(",", ".") for row in rows
    ]
    tests = read(tmp_path, header.replace(",", ";"), german)
    assert (tests.decimal, tests.unreadable, tests.left_out) == (",", 0, 0)
    assert tests.down_bits_per_s == pytest.approx(1e3 * np.array(rates))
    slip = ['"12,34","1,234",5', *rows]  # one digit lost does not make it a decimal comma
    tests = read(tmp_path, header, slip)
    assert (tests.decimal, tests.unreadable) == (".", 1)
    assert tests.down_bits_per_s == pytest.approx(1e3 * np.array(rates))


@pytest.mark.parametrize("delimiter", [";", ","])
def test_decimal_commas_are_recognised(tmp_path: Path, delimiter: str):
    quote = '"' if delimiter == "," else ""
    rows = [
        delimiter.join(f"{quote}{cell}{quote}" for cell in (f"{n * 339.7:.1f}".replace(".", ","),
        f"{n},5", f"1.{n:03},25"))
        for n in range(1, 31)
    ]  # fmt: skip
    tests = read(tmp_path, HEADER.replace(",", delimiter), rows)
    assert (tests.decimal, tests.unreadable) == (",", 0)
    assert tests.down_bits_per_s == pytest.approx(339.7e6 * np.arange(1, 31))
    assert tests.up_bits_per_s == pytest.approx(1e6 * (np.arange(1, 31) + 0.5))
    assert tests.rtt_s == pytest.approx(1 + 1e-3 * np.arange(1, 31) + 0.25e-3)


@pytest.mark.parametrize("cell", ["12,345", "12.345"])
def test_a_sign_that_may_be_either_is_asked_for(tmp_path: Path, cell: str):
    rows = [f'"{cell}","{cell}",{n}' for n in range(1, 31)]
    said = refusal(tmp_path, rows=rows)
    assert f"'{cell}' in download_mbps may be " in said
    assert "state the decimal sign with --decimal . or --decimal ," in said
    as_point = read(tmp_path, rows=rows, decimal=".").down_bits_per_s[0]
    as_comma = read(tmp_path, rows=rows, decimal=",").down_bits_per_s[0]
    assert sorted((as_point, as_comma)) == pytest.approx([12.345e6, 12345e6])
    assert (as_point < as_comma) == ("." in cell)


def test_a_file_of_both_signs_is_refused(tmp_path: Path):
    rows = [f'"{n}.5","{n},25",{n}' for n in range(1, 31)]
    said = refusal(tmp_path, rows=rows)
    assert "line 2 has '1.5' in download_mbps, line 2 has '1,25' in upload_mbps" in said
    assert "--decimal ';' is not valid; valid: . or ," in refusal(tmp_path, decimal=";")


@pytest.mark.parametrize(
    ("cell", "point", "comma"),
    [
        ("12", 12, 12), ("12.5", 12.5, None), ("12,5", None, 12.5), ("12.345", 12.345, 12345),
        ("12,345", 12345, 12.345), ("1,234,567", 1234567, None), ("1.234.567,5", None, 1234567.5),
        ("1,234.5", 1234.5, None), ("0,123", None, 0.123), ("1234,567", None, 1234.567),
        ("1 234", 1234, 1234), ("1'234.5", 1234.5, None), ("1\u202f234,5", None, 1234.5),
        ("1\u2019234", 1234, 1234), ("-5", -5, -5), ("\u22125", -5, -5), ("1e3", 1000, 1000),
        ("1,5E+03", None, 1500), (".5", 0.5, None), ("5.", 5, None), ("12,34,567", None, None),
        ("1,23", None, 1.23), ("1 23", None, None), ("1_000", None, None), ("12.3.4", None, None),
        ("1,234 567", None, None), ("9" * 61, None, None), ("5ms", None, None),
    ],
)  # fmt: skip
def test_a_cell_is_read_with_a_point_and_with_a_comma(cell: str, point, comma):
    expected = tuple(np.inf if value is None else value for value in (point, comma))
    assert readings(cell) == pytest.approx(expected)


# files


@pytest.mark.parametrize(
    "header",
    ["ms " * 40_000, ",".join(["lat"] * 200_000), ",".join(["down"] * 200_000), "9" * 130_000,
     "download_mbps,upload_mbps," + "rtt_" * 30_000 + "ms", "(" * 100_000, "_" * 100_000],
)  # fmt: skip
def test_a_header_of_any_length_is_refused_at_once(tmp_path: Path, header: str):
    began_s = time.process_time()
    assert len(refusal(tmp_path, header)) < 3000
    assert time.process_time() - began_s < 5


def test_files_without_an_end_are_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="more than 1,000,000 characters"):
        read_speed_tests(Path("/dev/zero"), ReadOptions())
    bomb = tmp_path / "bomb.csv.gz"
    bomb.write_bytes(gzip.compress(b"1" * 50_000_000))
    with pytest.raises(ConfigError, match="more than 1,000,000 characters"):
        read_speed_tests(bomb, ReadOptions())


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
