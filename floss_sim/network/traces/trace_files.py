"""Trace files: CSV and mahimahi, recognised by their first line and read into rate traces.

- CSV with the header ``seconds,kbit/s`` (or another unit of rate). Times ascend; the first is
  shifted to 0. A row's rate holds until the time of the next row. The last row's piece is as long
  as the piece before it.
- mahimahi: one whole number of milliseconds a line, each an opportunity to deliver a packet of
  1,500 bytes. Opportunities are counted in bins. A bin includes its right edge, and the first bin
  also includes 0. The rate of a bin is its bits divided by its seconds. The trace ends at the last
  opportunity, as in mahimahi, and the last bin with it: the line ``1`` alone is 12 Mbit/s.

Blank lines are skipped.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from floss_sim.errors import ProfileError, UnitError
from floss_sim.network.text_lines import plain_number, shown, text_lines
from floss_sim.network.traces.rate_trace import AtEnd, RateTrace
from floss_sim.units import BITS_PER_BYTE, parse_rate

_PACKET_BITS = 1500 * BITS_PER_BYTE
_MILLISECONDS = re.compile(r"[0-9]{1,15}")
_SHORTEST_PIECE_S = 1e-6  # shorter ones would be millions of changes a second
_LONGEST_TIME_S = 1e12
_RATES_BITS_PER_S = (1e-3, 1e15)  # lowest rate above 0, and highest rate
_FORMATS = "a CSV header such as seconds,kbit/s, or mahimahi's whole milliseconds"
_Lines = list[tuple[int, str]]  # line numbers and the text of each line
_Pieces = tuple[tuple[float, ...], tuple[float, ...], float]  # starts, rates and length


def read_trace(path: str | Path, at_end: AtEnd, bin_s: float = 0.1) -> RateTrace:
    """Return the trace of a CSV or mahimahi file (see the top of the module).

    Args:
        path: Path of the file.
        at_end: Behaviour after the end of the trace, ``"repeat"`` or ``"hold"``.
        bin_s: Width in seconds of the bins for mahimahi's packets; a whole number of
            milliseconds.

    Raises:
        ProfileError: The file cannot be read or has no usable trace. The one-line message names
            the file, the line, and valid content.
    """
    lines = _lines(Path(path))
    try:
        starts_s, bits_per_s, length_s = (
            _mahimahi_pieces(lines, bin_s)
            if _MILLISECONDS.fullmatch(lines[0][1])
            else _csv_pieces(lines)
        )
        return RateTrace(starts_s, bits_per_s, length_s, at_end)
    except ProfileError as problem:
        raise ProfileError(f"{path}: {problem}") from None


def _lines(path: Path) -> _Lines:
    read = text_lines(path, f"is not text; valid: {_FORMATS}")
    stripped = ((number, line.strip()) for number, line in enumerate(read, 1))
    lines = [(number, line) for number, line in stripped if line]
    if not lines:
        raise ProfileError(f"{path} is empty; valid: {_FORMATS}")
    return lines


def _csv_pieces(lines: _Lines) -> _Pieces:
    """Return the pieces of a CSV: starts in seconds, bits per second, and length in seconds."""
    unit = _unit(*lines[0])
    rows = [_row(number, line, unit) for number, line in lines[1:]]
    if len(rows) < 2:
        valid = "at least two rows, because the last piece is as long as the one before it"
        _refuse(lines[-1][0], f"the trace ends after {len(rows)} row(s)", valid)
    for (a_s, _), (b_s, _), (number, _) in zip(rows, rows[1:], lines[2:], strict=False):
        if b_s <= a_s:
            _refuse(number, f"time {b_s:g} s does not follow {a_s:g} s", "times that ascend")
        if b_s - a_s < _SHORTEST_PIECE_S:
            _refuse(number, f"{b_s - a_s:g} s after the row before", "rows at least 1 us apart")
    starts_s = tuple(at_s - rows[0][0] for at_s, _ in rows)
    length_s = starts_s[-1] + (starts_s[-1] - starts_s[-2])
    return starts_s, tuple(rate for _, rate in rows), length_s


def _unit(number: int, header: str) -> float:
    """Return the unit of a header's rate column, in bits per second."""
    seconds, *others = _cells(header)
    if seconds != "seconds" or len(others) != 1:
        _refuse(number, f"{shown(header)!r} is not the first line of a trace", _FORMATS)
    try:
        return parse_rate(f"1 {others[0]}")
    except UnitError:
        problem = f"{shown(others[0])!r} is not a unit of rate"
        _refuse(number, problem, "seconds,kbit/s, Mbit/s or bit/s")


def _row(number: int, line: str, unit: float) -> tuple[float, float]:
    """Return the time of a row in seconds, and its rate in bits per second."""
    try:
        at_s, rate = (plain_number(cell) for cell in _cells(line))
    except ValueError:
        at_s = rate = math.nan
    if not (0 <= at_s < math.inf and 0 <= rate < math.inf):
        valid = "a time and a rate, two finite numbers at or above 0"
        _refuse(number, f"{shown(line)!r} is not a row of a trace", valid)
    if at_s > _LONGEST_TIME_S:
        _refuse(number, f"time {at_s:g} s", f"times up to {_LONGEST_TIME_S:g} s")
    low, high = _RATES_BITS_PER_S
    if rate and not low <= rate * unit <= high:
        _refuse(number, f"rate {rate * unit:g} bit/s", f"0, or {low:g} to {high:g} bit/s")
    return at_s, rate * unit


def _cells(line: str) -> list[str]:
    return [cell.strip(' \t"') for cell in line.split(",")]


def _mahimahi_pieces(lines: _Lines, bin_s: float) -> _Pieces:
    """Return the pieces of binned packets: starts in seconds, bits per second, and length."""
    bin_ms = _bin_ms(bin_s)
    instants_ms = list(_opportunities(lines))
    end_ms = instants_ms[-1]
    if end_ms == 0:
        valid = "a last instant above 0 ms, at which the trace ends and starts again"
        _refuse(lines[-1][0], "the trace lasts 0 ms", valid)
    packets = Counter(max(1, -(-at_ms // bin_ms)) for at_ms in instants_ms)
    rates = {0: 0.0}  # bits per second from an instant in ms on
    for at, n in packets.items():
        from_ms, to_ms = (at - 1) * bin_ms, min(at * bin_ms, end_ms)
        rates[from_ms] = n * _PACKET_BITS * 1000 / (to_ms - from_ms)
        rates.setdefault(to_ms, 0.0)
    *starts_s, length_s = (at_ms / 1000 for at_ms in rates)
    return tuple(starts_s), tuple(rates.values())[:-1], length_s


def _bin_ms(bin_s: float) -> int:
    if not 1 <= bin_s * 1000 < math.inf or not math.isclose(bin_s * 1000, round(bin_s * 1000)):
        raise ProfileError(f"bin of {bin_s:g} s; valid: a whole number of milliseconds above 0")
    return round(bin_s * 1000)


def _opportunities(lines: _Lines) -> Iterator[int]:
    before_ms = 0
    for number, line in lines:
        if not _MILLISECONDS.fullmatch(line):
            _refuse(number, f"{shown(line)!r} is not an instant", "a whole number of milliseconds")
        if int(line) < before_ms:
            _refuse(number, f"{line} ms comes after {before_ms} ms", "instants in order")
        before_ms = int(line)
        yield before_ms


def _refuse(number: int, problem: str, valid: str) -> NoReturn:
    raise ProfileError(f"line {number}: {problem}; valid: {valid}")
