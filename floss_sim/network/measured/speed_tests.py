"""Speed tests: a CSV file with one measured link a row, read into plain numbers.

A file needs a header and columns for the download rate, the upload rate and the latency. The caller
names columns and units, or they are read from the column names if these are unambiguous. They are
never guessed from the size of the numbers. Delimiter and decimal sign are stated or follow from the
whole file. A row that cannot be read is counted, and too many of them are an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import ProfileError
from floss_sim.network.measured.cell_numbers import Decimal, NumberCells
from floss_sim.network.measured.column_units import rate_unit, time_unit
from floss_sim.network.measured.columns import ROLES, role_column
from floss_sim.network.measured.conditions import Conditions
from floss_sim.network.measured.csv_table import CsvTable, open_table
from floss_sim.network.measured.fit_figures import Figures, figures_of
from floss_sim.network.measured.weighted_links import WeightedLinks
from floss_sim.network.measured.weighted_statistics import FloatArray

FEWEST_ROWS = 20  # usable rows that a fit needs at least
MOST_UNREADABLE = 0.01  # share of the rows that may be unreadable without --skip-bad
_RATES_BITS_PER_S = (1e-3, 1e15)  # lowest and highest rate that a row may have
_TIMES_S = (1e-9, 1e6)
_WEIGHTS = (1e-100, 1e100)


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
        lines: Line of the file in which each row ends (N,); the header is line 1.
        left_out: Number of rows that met the conditions but had a value that is missing or not
            above zero.
        filtered: Number of rows that did not meet the conditions.
        unreadable: Number of rows left out because a cell is no finite number or out of range, or
            the number of cells is not that of the header.
        delimiter: Character between the cells.
        decimal: Decimal sign of the numbers, a point if it makes no difference.
        no_rtt: Lines of the rows that are left out with a round trip of 0.
    """

    source: str
    columns: Mapping[str, str]
    units: Mapping[str, str]
    where: tuple[str, ...]
    down_bits_per_s: FloatArray
    up_bits_per_s: FloatArray
    rtt_s: FloatArray
    weights: FloatArray
    lines: NDArray[np.int64]
    left_out: int
    filtered: int
    unreadable: int = 0
    delimiter: str = ","
    decimal: Decimal = "."
    no_rtt: tuple[int, ...] = ()

    @property
    def links(self) -> WeightedLinks:
        """The links without what else is known of the file."""
        return WeightedLinks(self.down_bits_per_s, self.up_bits_per_s, self.rtt_s, self.weights)

    @cached_property
    def figures(self) -> Figures:
        """The figures by which a fit is judged (see fit_figures.py)."""
        return figures_of(self.links)


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
        delimiter: Character between the cells, or ``"tab"``; None to find it.
        decimal: Decimal sign, ``"."`` or ``","``; None to find it. The other one may group
            thousands.
        skip_bad: Whether any number of unreadable rows may be left out.
    """

    down: str | None = None
    up: str | None = None
    latency: str | None = None
    weight: str | None = None
    rate_unit: str | None = None
    latency_unit: str | None = None
    where: tuple[str, ...] = ()
    delimiter: str | None = None
    decimal: str | None = None
    skip_bad: bool = False


def read_speed_tests(path: Path, reading: ReadOptions) -> SpeedTests:
    """Return the speed tests of a CSV file, which may be gzipped (``.gz``).

    Raises:
        ProfileError: An unreadable file; a column, unit, delimiter or decimal sign that is missing,
            unknown or ambiguous; too many unreadable rows, or too few usable ones.
        UnitError: An unknown unit, or a column without a clear one.
    """
    stated = _decimal_named(reading.decimal)
    table = open_table(path, reading.delimiter)
    columns = {role: role_column(table, role, getattr(reading, role)) for role in ROLES}
    if reading.weight is not None:
        columns["weight"] = reading.weight
    places = [table.place(name, f"--{role}") for role, name in columns.items()]
    units = {
        "down": rate_unit(columns["down"], reading.rate_unit),
        "up": rate_unit(columns["up"], reading.rate_unit),
        "latency": time_unit(columns["latency"], reading.latency_unit),
    }
    conditions = Conditions(table, reading.where)
    rows = _read_rows(table, NumberCells(tuple(columns.values())), places, conditions)
    try:
        decimal = stated or rows.cells.decimal()
    except ProfileError as problem:
        raise ProfileError(f"{path}: {problem}") from None
    scales = [unit.size for unit in units.values()]
    with np.errstate(over="ignore"):  # infinity is out of range
        values_RC = rows.cells.values(decimal) * [*scales, 1.0][: len(columns)]
    usable, unreadable = _usable(values_RC)
    _check_unreadable(path, rows, decimal, unreadable, reading.skip_bad)
    left_out = len(values_RC) - int(usable.sum()) - int(unreadable.sum())
    bad = rows.misshapen + int(unreadable.sum())
    _check_enough(path, int(usable.sum()), left_out, bad, rows.filtered)
    down_N, up_N, rtt_N, *weights = values_RC[usable].T.copy()
    no_rtt = (values_RC[:, list(columns).index("latency")] == 0) & ~unreadable
    return SpeedTests(
        source=path.name,
        columns=columns,
        units={role: unit.name for role, unit in units.items()},
        where=reading.where,
        down_bits_per_s=down_N,
        up_bits_per_s=up_N,
        rtt_s=rtt_N,
        weights=weights[0] if weights else np.ones(down_N.size),
        lines=rows.cells.lines()[usable],
        left_out=left_out,
        filtered=rows.filtered,
        unreadable=bad,
        delimiter=table.delimiter,
        decimal=decimal,
        no_rtt=tuple(rows.cells.lines()[no_rtt].tolist()),
    )


def _decimal_named(text: str | None) -> Decimal | None:
    names: Mapping[str | None, Decimal | None] = {
        None: None, ".": ".", ",": ",", "point": ".", "comma": ",",
    }  # fmt: skip
    if text not in names:
        raise ProfileError(f"--decimal {text!r} is not valid; valid: . or ,")
    return names[text]


@dataclass
class _Rows:
    """Rows that met the conditions, and counts of the others."""

    cells: NumberCells
    filtered: int = 0
    misshapen: int = 0  # lines in rows of another number of cells than the header's
    sample: str = ""


def _read_rows(
    table: CsvTable, cells: NumberCells, places: Sequence[int], conditions: Conditions
) -> _Rows:
    read = _Rows(cells)
    width = len(table.header)
    for line, lines, row in table.rows:
        if len(row) < width or any(cell.strip() for cell in row[width:]):
            read.misshapen += lines
            read.sample = read.sample or f"line {line} has {len(row)} cells for {width} columns"
        elif conditions.met_by(row):
            cells.add(line, [row[place].strip() for place in places])
        else:
            read.filtered += 1
    if read.filtered and not cells.lines().size:
        raise ProfileError(f"{table.path}: 0 usable rows: {conditions.explanation()}")
    return read


def _usable(values_RC: FloatArray) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which rows are usable (R,), and which are unreadable (R,)."""
    low_C, high_C = np.array([_RATES_BITS_PER_S, _RATES_BITS_PER_S, _TIMES_S, _WEIGHTS]).T
    low_C, high_C = (ends[: values_RC.shape[1]] for ends in (low_C, high_C))
    above_zero_RC = values_RC > 0
    outside_RC = above_zero_RC & ((values_RC < low_C) | (values_RC > high_C))
    unreadable = outside_RC.any(axis=1)  # infinity stands for what is no number
    return above_zero_RC.all(axis=1) & ~unreadable, unreadable


def _check_unreadable(
    path: Path, rows: _Rows, decimal: Decimal, unreadable: NDArray[np.bool_], skip_bad: bool
) -> None:
    bad = rows.misshapen + int(unreadable.sum())
    total = rows.misshapen + unreadable.size
    if skip_bad or bad <= MOST_UNREADABLE * total:
        return
    range_sample = f"line {rows.cells.lines()[unreadable][0]} has a value out of range" if (
        unreadable.any()) else ""  # fmt: skip
    sample = rows.cells.bad_sample(decimal) or rows.sample or range_sample
    raise ProfileError(
        f"{path}: {bad} of {total} rows cannot be read ({sample}); at most "
        f"{MOST_UNREADABLE:.0%} may be; see --delimiter and --decimal, or leave them out with "
        "--skip-bad"
    )


def _check_enough(path: Path, usable: int, left_out: int, unreadable: int, filtered: int) -> None:
    if usable < FEWEST_ROWS:
        raise ProfileError(
            f"{path}: {usable} usable rows, at least {FEWEST_ROWS} are needed ({left_out} left "
            f"out because a value is missing or not above zero, {unreadable} unreadable, "
            f"{filtered} filtered by --where)"
        )
