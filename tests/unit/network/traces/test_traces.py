from __future__ import annotations

import csv
import gzip
import json
import math
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
import simpy
from places import SHARED

from floss_sim.errors import ProfileError
from floss_sim.network.flow.max_min_fair import FairShare
from floss_sim.network.flow.pipe import Pipe
from floss_sim.network.link import ClientLink
from floss_sim.network.traces.rate_trace import AtEnd, RateTrace
from floss_sim.network.traces.trace_files import read_trace

TRACES = SHARED / "network_traces"
needs_shared = pytest.mark.skipif(not TRACES.is_dir(), reason=f"no real traces at {TRACES}")

STARTS, RATES = (0.0, 1.0, 3.0), (10.0, 0.0, 4.0)  # an outage in the middle; 10 + 0 + 8 bits
REPEAT = RateTrace(STARTS, RATES, 5.0, "repeat")
HOLD = RateTrace(STARTS, RATES, 5.0, "hold")


def refusal(path: Path | str, at_end: AtEnd = "repeat", bin_s: float = 0.1) -> str:
    with pytest.raises(ProfileError) as caught:
        read_trace(path, at_end, bin_s)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def written(folder: Path, text: str) -> Path:
    path = folder / "trace"
    path.write_text(text, encoding="utf-8")
    return path


# rates over time


def test_a_piece_holds_its_start():
    assert [HOLD.rate_at(at_s) for at_s in (0, 0.999, 1, 2.999, 3, 4.999)] == [10, 10, 0, 0, 4, 4]


def test_a_trace_repeats_or_holds_its_last_rate():
    assert [REPEAT.rate_at(at_s) for at_s in (5, 6, 8, 5e6, 5e6 + 1)] == [10, 0, 4, 10, 0]
    assert [HOLD.rate_at(at_s) for at_s in (5, 6, 8, 5e6)] == [4, 4, 4, 4]


def test_changes_begin_with_the_rate_in_force():
    assert list(HOLD.changes(0.5)) == [(0.5, 10), (1, 0), (3, 4)]
    assert list(HOLD.changes(3)) == [(3, 4)]
    assert list(HOLD.changes(99)) == [(99, 4)]
    start = [(7.5, 0), (8, 4), (10, 10), (11, 0), (13, 4), (15, 10)]
    assert list(islice(REPEAT.changes(7.5), 6)) == start


def test_equal_neighbours_are_one_rate_also_across_the_end():
    trace = RateTrace((0, 1, 2, 3), (5, 7, 7, 5), 4, "repeat")
    assert list(islice(trace.changes(0), 5)) == [(0, 5), (1, 7), (3, 5), (5, 7), (7, 5)]


@pytest.mark.parametrize("at_end", ["repeat", "hold"])
def test_a_constant_trace_never_changes(at_end: AtEnd):
    trace = RateTrace((0, 1, 2), (6, 6, 6), 3, at_end)
    assert list(trace.changes(1.5)) == [(1.5, 6)]
    assert trace.time_of(600, 7) == pytest.approx(100, rel=1e-12)


def test_instants_do_not_drift():
    trace = RateTrace((0, 0.3), (1, 2), 0.7, "repeat")
    later = [at_s for at_s, _ in islice(trace.changes(0), 200_000)]
    assert later[2::2] == [cycle * 0.7 for cycle in range(1, 100_000)]
    assert all(a < b for a, b in pairwise(later))


def test_instants_ascend_where_the_clock_does_not_resolve_a_piece():
    trace = RateTrace((0, 1e-9, 2e-9), (1, 2, 3), 1, "repeat")
    changes = list(islice(trace.changes(2.0**40), 5))
    assert changes == [(2.0**40 + i, 3) for i in range(5)]
    assert all(trace.rate_at(at_s) == rate for at_s, rate in changes)


def test_rounding_starts_no_piece_after_the_cycle_that_follows():
    trace = RateTrace((0, 0.5, math.nextafter(0.7, 0)), (1, 2, 3), 0.7, "repeat")
    assert any(c * 0.7 + trace.starts_s[2] > (c + 1) * 0.7 for c in range(1000))
    instants = [at_s for at_s, _ in islice(trace.changes(0), 2000)]
    assert all(a < b for a, b in pairwise(instants))
    assert all(trace.rate_at(cycle * 0.7) == 1 for cycle in range(1000))


# bits


def test_bits_between_are_the_area_under_the_rates():
    assert HOLD.bits_between(0.5, 4) == REPEAT.bits_between(0.5, 4) == 5 + 0 + 4
    assert HOLD.bits_between(1.2, 2.7) == 0
    assert HOLD.bits_between(4, 104) == 400
    assert REPEAT.bits_between(4, 104) == 20 * 18
    assert REPEAT.bits_between(2, 5) == 8
    assert REPEAT.bits_between(3.25, 3.5) == 1


def test_time_of_spans_outages_cycles_and_the_hold():
    assert HOLD.time_of(5, 0.5) == 0.5
    assert HOLD.time_of(9, 0.5) == 3.5
    assert HOLD.time_of(4, 1.5) == 2.5
    assert HOLD.time_of(400, 4) == 100
    assert REPEAT.time_of(8, 2) == 3
    assert REPEAT.time_of(18.5, 0) == 5.05
    assert REPEAT.time_of(0, 2) == 0


def test_time_of_ends_before_an_outage_not_after_it():
    assert REPEAT.time_of(10, 0) == 1
    last_dark = RateTrace((0, 1), (10, 0), 5, "repeat")
    assert last_dark.time_of(10, 0) == 1
    assert last_dark.time_of(30, 0) == 11
    assert last_dark.time_of(10, 2) == 4


def test_the_smallest_payload_waits_for_the_outage_to_end():
    assert REPEAT.time_of(1e-20, 2) == 1
    assert RateTrace((0, 1), (10, 0), 5, "repeat").time_of(1e-20, 2) == 3


def test_time_of_skips_whole_cycles_at_once():
    assert REPEAT.time_of(18e12, 0) == 5e12
    assert REPEAT.time_of(18e12 + 5, 0) == pytest.approx(5e12 + 0.5, rel=1e-15)


def test_a_scaled_trace_takes_less_time():
    twice = HOLD.with_factor(2)
    assert twice.bits_per_s == (20, 0, 8)
    assert twice.time_of(18, 0.5) == HOLD.time_of(9, 0.5)


@pytest.mark.parametrize("factor", [0, -1, math.inf, math.nan])
def test_no_other_factor_scales(factor: float):
    with pytest.raises(ProfileError, match="finite number above zero"):
        HOLD.with_factor(factor)


# values


def test_traces_are_values():
    again = RateTrace(STARTS, RATES, 5.0, "hold")
    assert (again == HOLD, hash(again) == hash(HOLD), HOLD == REPEAT) == (True, True, False)
    assert HOLD.with_factor(1) == HOLD


def test_settings_tell_traces_apart_and_are_short():
    traces = [HOLD, REPEAT, HOLD.with_factor(2), RateTrace(STARTS, RATES, 6.0, "hold")]
    told = {json.dumps(trace.settings()) for trace in traces}
    assert len(told) == 4
    assert RateTrace((0, 1, 3), (10, 0, 4), 5, "hold").settings() == HOLD.settings()


@pytest.mark.parametrize(
    ("starts_s", "bits_per_s", "length_s", "at_end", "message"),
    [
        ((0,), (1,), 1, "loop", "valid: repeat, hold"),
        ((), (), 1, "hold", "at least one"),
        ((0, 1), (1,), 2, "hold", "one rate for each start"),
        ((1, 2), (1, 1), 3, "hold", "ascend from 0"),
        ((0, 2, 2), (1, 1, 1), 3, "hold", "ascend from 0"),
        ((0, 2), (1, 1), 2, "hold", "ascend from 0"),
        ((0, math.nan), (1, 1), 3, "hold", "ascend from 0"),
        ((0,), (1,), math.inf, "hold", "finite"),
        ((0, 1), (1, -1), 2, "repeat", "at or above 0"),
        ((0, 1), (1, math.nan), 2, "repeat", "at or above 0"),
        ((0, 1), (1, math.inf), 2, "repeat", "at or above 0"),
        ((0, 1), (1e308, 1e308), 9, "repeat", "all finite"),
        ((0, 1), (0, 0), 2, "repeat", "at least one rate above 0"),
        ((0, 1), (1, 0), 2, "hold", "never end"),
    ],
)
def test_no_trace_is_made_of_bad_fields(
    starts_s: tuple[float, ...],
    bits_per_s: tuple[float, ...],
    length_s: float,
    at_end: AtEnd,
    message: str,
):
    with pytest.raises(ProfileError, match=message):
        RateTrace(starts_s, bits_per_s, length_s, at_end)


# CSV


def test_a_csv_holds_each_rate_until_the_next_row_and_the_last_as_long_as_the_one_before(
    tmp_path: Path,
):
    path = written(tmp_path, "seconds,kbit/s\n0,500\n1.5,0\n2,250.5\n")
    expected = RateTrace((0, 1.5, 2), (500e3, 0, 250.5e3), 2.5, "repeat")
    assert read_trace(path, "repeat") == read_trace(str(path), "repeat") == expected


@pytest.mark.parametrize(("unit", "scale"), [("bit/s", 1), ("kbit/s", 1e3), ("Mbit/s", 1e6)])
def test_the_rate_column_names_its_unit(tmp_path: Path, unit: str, scale: float):
    trace = read_trace(written(tmp_path, f"seconds,{unit}\n0,1\n1,2\n"), "hold")
    assert trace.bits_per_s == (scale, 2 * scale)


def test_a_csv_is_shifted_to_zero_and_may_have_quotes_spaces_and_blank_lines(tmp_path: Path):
    text = '\ufeff"seconds" , "kbit/s"\r\n100, 1\r\n\r\n101.5,2\r\n\r\n'
    assert read_trace(written(tmp_path, text), "hold") == RateTrace((0, 1.5), (1e3, 2e3), 3, "hold")


@pytest.mark.parametrize(
    ("rows", "line", "message"),
    [
        (["0,1", "2,1", "1,1"], 4, "time 1 s does not follow 2 s; valid: times that ascend"),
        (["0,1", "", "0,1"], 4, "time 0 s does not follow 0 s"),
        (["0,1", "1,nan"], 3, "'1,nan' is not a row of a trace; valid: a time and a rate"),
        (["nan,1", "1,1"], 2, "not a row"),
        (["0,1", "1,-5"], 3, "at or above 0"),
        (["-1,1", "1,5"], 2, "at or above 0"),
        (["0,inf", "1,5"], 2, "finite"),
        (["0,1", "1"], 3, "not a row"),
        (["0,1", "1,2,3"], 3, "not a row"),
        (["0,fast", "1,2"], 2, "not a row"),
        (["0,1_000", "1,2"], 2, "not a row"),
        (["0,1", "1,1e99"], 3, "rate 1e+102 bit/s; valid: 0, or 0.001 to 1e+15 bit/s"),
        (["0,1e-99", "1,1"], 2, "valid: 0, or 0.001"),
        (["0,1", "1e99,1"], 3, "valid: times up to"),
        (["0,1", "1e-300,1"], 3, "valid: rows at least 1 us apart"),
        (["0,1"], 2, "ends after 1 row(s); valid: at least two rows"),
        ([], 1, "ends after 0 row(s); valid: at least two rows"),
    ],
)
def test_a_bad_row_is_refused_with_its_line(
    tmp_path: Path, rows: list[str], line: int, message: str
):
    said = refusal(written(tmp_path, "\n".join(["seconds,kbit/s", *rows])))
    assert f"line {line}: " in said
    assert message in said


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("seconds,furlong/s", "'furlong/s' is not a unit of rate; valid: seconds,kbit/s"),
        ("seconds,", "not a unit"),
        ("seconds", "is not the first line of a trace; valid: a CSV header"),
        ("seconds,kbit/s,bit/s", "is not the first line of a trace"),
        ("kbit/s,seconds", "is not the first line of a trace"),
        ("0,4441", "is not the first line of a trace"),
        ("12.5", "or mahimahi's whole milliseconds"),
    ],
)
def test_a_bad_header_is_refused(tmp_path: Path, header: str, message: str):
    said = refusal(written(tmp_path, f"\n{header}\n0,1\n1,1\n"))
    assert "line 2: " in said
    assert message in said


def test_a_trace_by_which_a_transfer_might_never_end_is_refused(tmp_path: Path):
    assert "at least one rate above 0" in refusal(written(tmp_path, "seconds,bit/s\n0,0\n1,0\n"))
    ends_dark = written(tmp_path, "seconds,bit/s\n0,1\n1,0\n")
    assert "or repeat" in refusal(ends_dark, "hold")
    assert read_trace(ends_dark, "repeat").time_of(2, 0) == 3


def test_what_is_no_file_of_text_is_refused(tmp_path: Path):
    assert "cannot read" in refusal(tmp_path / "none")
    assert "cannot read" in refusal(tmp_path)
    assert "is empty; valid: a CSV header" in refusal(written(tmp_path, "\n \n"))
    (tmp_path / "trace").write_bytes(gzip.compress(b"seconds,bit/s\n0,1\n1,1\n"))
    assert "is not text; valid: a CSV header" in refusal(tmp_path / "trace")
    assert "more than 1,000,000 characters" in refusal("/dev/zero")


# mahimahi


def test_packets_are_counted_in_bins_that_hold_their_right_edge(tmp_path: Path):
    path = written(tmp_path, "0\n50\n100\n101\n400\n")
    packet = 12_000 / 0.1
    expected = RateTrace((0, 0.1, 0.2, 0.3), (3 * packet, packet, 0, packet), 0.4, "repeat")
    assert read_trace(path, "repeat") == expected


def test_a_bin_may_have_any_whole_milliseconds(tmp_path: Path):
    path = written(tmp_path, "1\n1\n7\n")
    expected = RateTrace((0, 0.001, 0.006), (24e6, 0, 12e6), 0.007, "hold")
    assert read_trace(path, "hold", bin_s=0.001) == expected
    expected = RateTrace((0,), (36_000 / 0.007,), 0.007, "hold")
    assert read_trace(path, "hold", bin_s=7) == expected


@pytest.mark.parametrize("bin_s", [0.001, 0.1, 7])
@pytest.mark.parametrize(
    ("text", "bits_per_s", "length_s"),
    [
        ("2\n", 6e6, 0.002),
        ("1\n", 12e6, 0.001),
        ("0\n1\n", 24e6, 0.001),
        ("1\n1\n2\n2\n3\n3\n", 24e6, 0.003),
        ("1\n1\n1\n1\n", 48e6, 0.001),
        ("\n".join(str(10 * n) for n in range(1, 14)), 1.2e6, 0.13),
        ("1000000\n", 12, 1000),
    ],
)
@pytest.mark.parametrize("at_end", ["repeat", "hold"])
def test_the_period_of_a_trace_is_its_last_time_stamp(
    tmp_path: Path, text: str, bits_per_s: float, length_s: float, bin_s: float, at_end: AtEnd
):
    trace = read_trace(written(tmp_path, text), at_end, bin_s)
    assert trace.length_s == length_s
    assert trace.mean_bits_per_s == pytest.approx(bits_per_s, rel=1e-9)
    if at_end == "repeat":
        for seconds in (length_s, 7 * length_s, 1000 * length_s):
            assert trace.bits_between(0, seconds) == pytest.approx(bits_per_s * seconds, rel=1e-9)
            most = trace.time_of(bits_per_s * seconds * (1 - 1e-6), 0)
            assert most == pytest.approx(seconds, rel=1e-5)


@pytest.mark.parametrize(("line", "bits_per_s"), [("2", 6e6), ("1", 12e6), ("1\n1", 24e6),
                                                  ("1\n1\n1\n1", 48e6)])  # fmt: skip
def test_a_constant_trace_carries_whole_transfers_at_its_rate(
    tmp_path: Path, line: str, bits_per_s: float
):
    trace = read_trace(written(tmp_path, line), "repeat")
    link = ClientLink(1e9, 1e9, 0.02, 0.0, down_trace=trace)
    for payload_bytes in (1500, 100_000, 10_000_000):
        alone_s = link.transfer_s("down", payload_bytes) - 0.01
        assert alone_s == pytest.approx(8 * payload_bytes / bits_per_s, rel=1e-3)
        env = simpy.Environment()
        pipe = Pipe(env, FairShare(math.inf))
        flow = pipe.start(8 * payload_bytes, trace.changes(0), 0)
        env.run(until=flow.tag)
        assert env.now == pytest.approx(8 * payload_bytes / bits_per_s, rel=1e-3)


def test_a_trace_that_ends_with_a_whole_bin_keeps_its_fingerprint(tmp_path: Path):
    lines = [str(at_ms) for at_ms in sorted((37 * n * n) % 5000 for n in range(1, 400))]
    settings = read_trace(written(tmp_path, "\n".join([*lines, "5000"])), "repeat").settings()
    assert settings["sha256"].startswith("19d9edae6e21213d12694b36")  # of commit d860b04
    assert (settings["length_s"], settings["at_end"]) == (5.0, "repeat")


@pytest.mark.parametrize("zeros", [1, 4])
def test_a_trace_that_lasts_no_time_is_refused(tmp_path: Path, zeros: int):
    said = refusal(written(tmp_path, "0\n" * zeros))
    assert f"line {zeros}: the trace lasts 0 ms; valid: a last instant above 0 ms" in said


def test_a_long_silence_is_one_piece(tmp_path: Path):
    trace = read_trace(written(tmp_path, "1\n86400000000\n"), "repeat")
    assert (len(trace.starts_s), trace.length_s) == (3, 86_400_000)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("1\n5\n4\n", 3, "4 ms comes after 5 ms; valid: instants in order"),
        ("1\n\n2.5\n", 3, "'2.5' is not an instant; valid: a whole number of milliseconds"),
        ("1\n-2\n", 2, "not an instant"),
        ("1\nnan\n", 2, "not an instant"),
        ("1\n" + "9" * 99, 2, "not an instant"),
        ("1\n2,3\n", 2, "not an instant"),
    ],
)
def test_a_bad_instant_is_refused_with_its_line(tmp_path: Path, text: str, line: int, message: str):
    said = refusal(written(tmp_path, text))
    assert f"line {line}: " in said
    assert message in said


@pytest.mark.parametrize("bin_s", [0, -0.1, 0.0005, 0.0015, math.inf, math.nan])
def test_a_bin_of_no_whole_milliseconds_is_refused(tmp_path: Path, bin_s: float):
    assert "whole number of milliseconds above 0" in refusal(
        written(tmp_path, "1\n2\n"), bin_s=bin_s
    )


# real traces


@needs_shared
@pytest.mark.parametrize(
    ("name", "trace", "rate_column"),
    [
        ("mahimahi_1s", "ATT-LTE-driving-2016", "kbps"),
        ("downlink_only_traces", "norway_bus_1", "dl_kbps"),
    ],
)
def test_a_real_trace_delivers_its_bits(tmp_path: Path, name: str, trace: str, rate_column: str):
    with gzip.open(TRACES / f"{name}.csv.gz", "rt", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["trace"] == trace]
    rows = [row for row in rows if row.get("direction", "down") == "down"]
    text = "\n".join(f"{row['t_s']},{row[rate_column]}" for row in rows)
    real = read_trace(written(tmp_path, f"seconds,kbit/s\n{text}\n"), "repeat")
    seconds = [int(row["t_s"]) for row in rows]  # some have no row: the rate before them holds
    lasts = np.diff([*seconds, seconds[-1] + 1])
    bits_S = 1e3 * np.repeat([float(row[rate_column]) for row in rows], lasts)  # S seconds
    assert real.length_s == len(bits_S) > 100
    assert real.bits_between(0, real.length_s) == pytest.approx(bits_S.sum(), rel=1e-12)
    payload = 8 * 2_400_000
    for from_s in (0, 17, 60):
        passed_S = np.cumsum(np.roll(bits_S, -from_s))
        second = int(np.searchsorted(passed_S, payload))
        before = passed_S[second - 1] if second else 0.0
        expected = second + (payload - before) / np.roll(bits_S, -from_s)[second]
        for cycle in (0, 1000):
            start_s = from_s + cycle * real.length_s
            assert real.time_of(payload, start_s) == pytest.approx(expected, rel=1e-9)
