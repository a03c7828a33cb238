"""Laws of rates over time, for traces of any shape."""

from __future__ import annotations

import math
import tempfile
from itertools import accumulate, islice, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from floss_sim.network.traces.rate_trace import RateTrace
from floss_sim.network.traces.trace_files import read_trace

RATES = st.one_of(st.just(0.0), st.floats(1e3, 1e9))
WIDTHS_S = st.floats(1e-3, 1e3)
INSTANTS_S = st.floats(0, 1e5)
BITS = st.floats(1, 1e12)


@st.composite
def traces(draw: st.DrawFn) -> RateTrace:
    n = draw(st.integers(1, 12))
    ends_s = list(accumulate(draw(st.lists(WIDTHS_S, min_size=n, max_size=n))))
    rates = draw(st.lists(RATES, min_size=n, max_size=n))
    some = draw(st.floats(1e3, 1e9))
    at_end = draw(st.sampled_from(["repeat", "hold"]))
    if at_end == "hold" or not any(rates):
        rates[-1] = some
    return RateTrace((0.0, *ends_s[:-1]), tuple(rates), ends_s[-1], at_end)


def unresolved(trace: RateTrace, at_s: float) -> float:
    """Return the bits that pass within a few steps of the clock, which no instant can tell."""
    return 8 * max(trace.bits_per_s) * math.ulp(max(at_s, trace.length_s))


@given(traces(), BITS, INSTANTS_S)
def test_time_of_inverts_bits_between(trace: RateTrace, bits: float, from_s: float):
    to_s = from_s + trace.time_of(bits, from_s)
    passed = trace.bits_between(from_s, to_s)
    assert passed == pytest.approx(bits, rel=1e-9, abs=unresolved(trace, to_s))


@given(traces(), BITS, BITS, INSTANTS_S)
def test_more_bits_take_more_time(trace: RateTrace, some: float, more: float, from_s: float):
    first_s = trace.time_of(some, from_s)
    assert first_s > 0
    step_s = 2 * math.ulp(from_s + first_s)
    assert trace.time_of(some + more, from_s) >= first_s - step_s
    assert first_s >= some / max(trace.bits_per_s) * (1 - 1e-9) - step_s


@given(traces(), st.lists(INSTANTS_S, min_size=3, max_size=3).map(sorted))
def test_bits_add_up(trace: RateTrace, instants_s: list[float]):
    a_s, b_s, c_s = instants_s
    whole = trace.bits_between(a_s, c_s)
    parts = trace.bits_between(a_s, b_s) + trace.bits_between(b_s, c_s)
    assert whole == pytest.approx(parts, rel=1e-9, abs=unresolved(trace, c_s))
    assert min(whole, parts) >= 0


@given(traces(), INSTANTS_S)
def test_changes_are_the_rates_in_force(trace: RateTrace, from_s: float):
    changes = list(islice(trace.changes(from_s), 40))
    assert changes[0] == (from_s, trace.rate_at(from_s))
    for (at_s, rate), (next_s, next_rate) in pairwise(changes):
        assert at_s < next_s
        assert rate != next_rate
        assert trace.rate_at(next_s) == next_rate
        assert trace.rate_at(math.nextafter(next_s, 0)) == rate
        assert trace.rate_at((at_s + next_s) / 2) == rate


@given(traces(), INSTANTS_S)
def test_bits_between_are_the_changes_summed(trace: RateTrace, from_s: float):
    changes = list(islice(trace.changes(from_s), 30))
    steps = pairwise(changes)
    summed = math.fsum(rate * (b_s - a_s) for (a_s, rate), (b_s, _) in steps)
    to_s = changes[-1][0]
    passed = trace.bits_between(from_s, to_s)
    assert passed == pytest.approx(summed, rel=1e-9, abs=30 * unresolved(trace, to_s))


@given(st.lists(st.integers(0, 5000), max_size=60), st.integers(1, 5000), st.integers(1, 900))
def test_mahimahi_packets_are_conserved(instants_ms: list[int], last_ms: int, bin_ms: int):
    stamps_ms = sorted([*(at_ms for at_ms in instants_ms if at_ms <= last_ms), last_ms])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace"
        path.write_text("\n".join(map(str, stamps_ms)), encoding="utf-8")
        trace = read_trace(path, "repeat", bin_s=bin_ms / 1000)
    assert trace.length_s == last_ms / 1000
    for end_ms in (*range(bin_ms, last_ms, bin_ms), last_ms):
        due = sum(at_ms <= end_ms for at_ms in stamps_ms)
        passed = trace.bits_between(0, end_ms / 1000)
        assert passed == pytest.approx(12_000 * due, rel=1e-9, abs=1e-6)
    cycles = trace.bits_between(0, 3 * trace.length_s)
    assert cycles == pytest.approx(3 * 12_000 * len(stamps_ms), rel=1e-9)
