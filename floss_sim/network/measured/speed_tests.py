"""Speed tests: a CSV file with one measured link a row, read into plain numbers.

A file needs a header and columns for the download rate, the upload rate and the latency. The caller
names columns and units, or they are read from the column names if these are unambiguous. They are
never guessed from the size of the numbers.
"""

from __future__ import annotations

import csv
import gzip
import math
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import ProfileError
from floss_sim.units import parse_duration, parse_rate

FloatArray = NDArray[np.float64]
FEWEST_ROWS = 20  # usable rows that a fit needs at least
_WORDS: Mapping[str, frozenset[str]] = {
    "down": frozenset({"download", "down", "dl", "downlink", "downstream", "d"}),
    "up": frozenset({"upload", "up", "ul", "uplink", "upstream", "u"}),
    "latency": frozenset({"latency", "lat", "rtt", "ping"}),
}
# Spelling in column names -> unit of units.py. "MBPS" and "Mb/s" are left out as ambiguous: they
# may mean bits or bytes.
_RATE_UNITS: Mapping[str, str] = {
    **{unit: unit for unit in ("bit/s", "kbit/s", "Mbit/s", "Gbit/s", "kB/s", "MB/s", "GB/s")},
    **{unit: unit for unit in ("bps", "kbps", "Mbps", "Gbps")},
    **{"mbit/s": "Mbit/s", "gbit/s": "Gbit/s", "Kbps": "kbps", "mbps": "Mbps", "gbps": "Gbps"},
}
_TIME_UNITS: Mapping[str, str] = {"us": "us", "ms": "ms", "s": "s"}


@dataclass(frozen=True)
class SpeedTests:
    """N measured links, one per usable row of a file.

    Attributes:
        source: Name of the file.
        columns: Column names of ``down``, ``up``, ``latency`` and, if given, ``weight``.
        units: Units of ``down``, ``up`` and ``latency``.
        where: Conditions ``COLUMN=VALUE`` that rows had to meet.
        down_bits_per_s: Download rates (N,), above zero.
        up_bits_per_s: Upload rates (N,), above zero.
        rtt_s: Latencies in seconds (N,), above zero.
        weights: Weights (N,), above zero; all 1 without a weight column.
        left_out: Number of rows that met the conditions but had a value that is missing, not
            finite or not above zero.
        filtered: Number of rows that did not meet the conditions.
    """

    source: str
    columns: Mapping[str, str]
    units: Mapping[str, str]
    where: tuple[str, ...]
    down_bits_per_s: FloatArray
    up_bits_per_s: FloatArray
    rtt_s: FloatArray
    weights: FloatArray
    left_out: int
    filtered: int


@dataclass(frozen=True)
class ReadOptions:
    """Columns, units and filters for reading a file of speed tests.

    Attributes:
        down: Column of the download rate; None to find it by name.
        up: Column of the upload rate; None to find it by name.
        latency: Column of the latency; None to find it by name.
        weight: Column of the row weights; None gives all rows equal weight.
        rate_unit: Unit of both rates; None to read it from the column names.
        latency_unit: Unit of the latency; None to read it from the column name.
        where: Conditions ``COLUMN=VALUE`` that rows must meet, compared as text.
    """

    down: str | None = None
    up: str | None = None
    latency: str | None = None
    weight: str | None = None
    rate_unit: str | None = None
    latency_unit: str | None = None
    where: tuple[str, ...] = ()


def read_speed_tests(path: Path, reading: ReadOptions) -> SpeedTests:
    """Return the speed tests of a CSV file, which may be gzipped (``.gz``).

    Raises:
        ProfileError: An unreadable file, a column or unit that is missing, unknown or ambiguous,
            or too few usable rows.
        UnitError: An unknown unit.
    """
    try:
        with _open(path) as file:
            return _read(path, csv.reader(file), reading)
    except (UnicodeDecodeError, csv.Error, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ProfileError(f"{path} is not a CSV file in UTF-8: {error}") from None
    except OSError as error:
        raise ProfileError(f"cannot read {path}: {error.strerror}") from None


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _read(path: Path, rows: Iterator[list[str]], reading: ReadOptions) -> SpeedTests:
    header = [name.strip() for name in next(rows, [])]
    columns = {role: _column(path, header, role, getattr(reading, role)) for role in _WORDS}
    if reading.weight is not None:
        columns["weight"] = _require_column(path, header, reading.weight, "--weight")
    units = {
        "down": _unit(columns["down"], reading.rate_unit, _RATE_UNITS, "--rate-unit Mbit/s"),
        "up": _unit(columns["up"], reading.rate_unit, _RATE_UNITS, "--rate-unit Mbit/s"),
        "latency": _unit(
            columns["latency"], reading.latency_unit, _TIME_UNITS, "--latency-unit ms"
        ),
    }
    scales = [parse_rate(f"1 {units[way]}") for way in ("down", "up")]
    scales += [parse_duration(f"1 {units['latency']}"), 1.0]
    places = [header.index(name) for name in columns.values()]
    factors = list(zip(places, scales, strict=False))  # the weight's scale may be unused
    wanted = [_condition(path, header, text) for text in reading.where]
    kept, left_out, filtered = _usable_rows(rows, factors, wanted)
    if len(kept) < FEWEST_ROWS:
        raise ProfileError(
            f"{path}: {len(kept)} usable rows, at least {FEWEST_ROWS} are needed ({left_out} left "
            f"out because a value is missing or not above zero, {filtered} filtered by --where)"
        )
    down_N, up_N, rtt_N, *weights = np.array(kept).T
    weight_N = weights[0] if weights else np.ones(len(kept))
    return SpeedTests(
        source=path.name,
        columns=columns,
        units=units,
        where=reading.where,
        down_bits_per_s=down_N,
        up_bits_per_s=up_N,
        rtt_s=rtt_N,
        weights=weight_N,
        left_out=left_out,
        filtered=filtered,
    )


def _require_column(path: Path, header: Sequence[str], name: str, option: str) -> str:
    if name not in header:
        raise ProfileError(
            f"{path} has no column {name!r} ({option}); it has {_column_list(header)}"
        )
    return name


def _column_list(header: Sequence[str]) -> str:
    return ", ".join(header) or "no header"


def _column(path: Path, header: Sequence[str], role: str, name: str | None) -> str:
    """Return the column of a role: the column stated, or the only one whose name fits the role."""
    option = f"--{role}"
    if name is not None:
        return _require_column(path, header, name, option)
    # Names with words of two roles do not count: "download_latency" is latency under load.
    found = [name for name in header if _roles(name) == {role}]
    if len(found) == 1:
        return found[0]
    if found:
        raise ProfileError(f"{path}: {role} could be {', '.join(found)}; choose one with {option}")
    raise ProfileError(
        f"{path}: no column name fits {role}; choose one with {option}: {_column_list(header)}"
    )


def _roles(column: str) -> set[str]:
    """Return the roles (down, up, latency) whose words are in a column's name."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", column)
    return {role for role, names in _WORDS.items() if names & {word.lower() for word in words}}


def _unit(column: str, stated: str | None, spellings: Mapping[str, str], option: str) -> str:
    """Return the unit stated by the caller, or the only unit in the column's name."""
    if stated is not None:
        return stated
    found = {unit for spelling, unit in spellings.items() if _stands_in(spelling, column)}
    if len(found) == 1:
        return found.pop()
    raise ProfileError(
        f"the name of column {column!r} has no unit, or more than one; state it, such as {option} "
        f"(units are not guessed from the numbers)"
    )


def _stands_in(unit: str, column: str) -> bool:
    return re.search(rf"(?<![A-Za-z/]){re.escape(unit)}(?![A-Za-z/])", column) is not None


def _condition(path: Path, header: Sequence[str], text: str) -> tuple[int, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ProfileError(f"--where {text!r} is not COLUMN=VALUE, such as technology=4G")
    return header.index(_require_column(path, header, name.strip(), "--where")), value.strip()


def _usable_rows(
    rows: Iterator[list[str]],
    factors: Sequence[tuple[int, float]],
    wanted: Sequence[tuple[int, str]],
) -> tuple[list[list[float]], int, int]:
    """Return the numbers of the usable rows, the count left out, and the count filtered."""
    kept, left_out, filtered = [], 0, 0
    for row in rows:
        if not row:  # a blank line
            continue
        if any(_cell(row, place) != value for place, value in wanted):
            filtered += 1
            continue
        values = [_number(_cell(row, place)) * factor for place, factor in factors]
        if all(0 < value < math.inf for value in values):
            kept.append(values)
        else:
            left_out += 1
    return kept, left_out, filtered


def _cell(row: Sequence[str], place: int) -> str:
    return row[place].strip() if place < len(row) else ""


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
