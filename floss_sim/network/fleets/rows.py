"""Client links in a CSV file: one link a row; column names include the units.

Required columns are ``down_bits_per_s``, ``up_bits_per_s``, ``rtt_s`` and
``compute_s_per_example``; the profile may give one value of the last two for all rows instead.
Optional columns are ``jitter_s``, ``loss``, ``dropout``, ``cell`` (counted from 0) and ``weight``.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from floss_sim.errors import ProfileError
from floss_sim.network.link import ClientLink
from floss_sim.network.text_lines import plain_number, shown, text_lines

_NO_CSV = "is not a CSV file in UTF-8"
_NEEDED = ("down_bits_per_s", "up_bits_per_s", "rtt_s", "compute_s_per_example")
_OPTIONAL = ("jitter_s", "loss", "dropout", "cell", "weight")
_COLUMNS = (*_NEEDED, *_OPTIONAL)
_POSITIVE = {"down_bits_per_s": 1e-3, "up_bits_per_s": 1e-3, "weight": 1e-100}  # lowest values
_MOST = {"loss": 0.5, "down_bits_per_s": 1e15, "up_bits_per_s": 1e15, "weight": 1e100, "cell": 1e9}
_LONGEST_S = 1e9


@dataclass(frozen=True)
class LinkRows:
    """Links of a file with N rows.

    Attributes:
        links: Link of each row (N,).
        weights: Relative probability of drawing each row (N,), above 0; all 1 if the file has no
            column ``weight``.
        have_cells: Whether the file has a column ``cell``.
    """

    links: tuple[ClientLink, ...]
    weights: tuple[float, ...]
    have_cells: bool


def read_rows(path: Path, defaults: Mapping[str, float]) -> LinkRows:
    """Return the rows of a CSV file with a header, in UTF-8.

    Args:
        path: Path of the file.
        defaults: Values for columns that the file may omit.

    Raises:
        ValueError: An unreadable file, a missing or unknown column, or an invalid value. The
            one-line message names the file, the line, and valid values.
    """
    return parse_rows(text_lines(path, _NO_CSV), path, defaults)


def parse_rows(lines: Iterable[str], path: Path, defaults: Mapping[str, float]) -> LinkRows:
    """Return the rows of the lines of a file; arguments and errors as :func:`read_rows`."""
    try:
        reader = csv.reader(lines, strict=True)
        names = [name.strip() for name in next(reader, [])]
        _check_columns(path, names, defaults)
        cells = ((reader.line_num, row) for row in reader if row)
        rows = [{**defaults, **_row(path, line, names, row)} for line, row in cells]
    except ProfileError as error:
        raise ValueError(str(error)) from None
    except csv.Error as error:
        raise ValueError(f"{path} {_NO_CSV}: {error} (line {reader.line_num})") from None
    if not rows:
        raise ValueError(f"{path} has no rows")
    weights = tuple(row.pop("weight", 1.0) for row in rows)
    return LinkRows(tuple(_link(row) for row in rows), weights, "cell" in names)


def rows_csv(rows: LinkRows) -> str:
    """Return rows as the text of a file, exact to the bit; columns of zeros are left out."""
    named = {
        "down_bits_per_s": [link.down_bits_per_s for link in rows.links],
        "up_bits_per_s": [link.up_bits_per_s for link in rows.links],
        "rtt_s": [link.rtt_s for link in rows.links],
        "compute_s_per_example": [link.compute_s_per_example for link in rows.links],
        "weight": rows.weights,
    }
    for name in ("jitter_s", "loss", "dropout"):
        if any(values := [getattr(link, name) for link in rows.links]):
            named[name] = values
    if rows.have_cells:
        named["cell"] = [link.cell for link in rows.links]
    lines = (",".join(map(repr, row)) for row in zip(*named.values(), strict=True))
    return "\n".join([",".join(named), *lines]) + "\n"


def _check_columns(path: Path, names: list[str], defaults: Iterable[str]) -> None:
    times = Counter(names)
    unknown = (f"has unknown column {shown(name)!r}" for name in times if name not in _COLUMNS)
    twice = (f"has column {name!r} twice" for name, n in times.items() if n > 1)
    given = {*names, *defaults}
    missing = (f"lacks column {name!r}" for name in _NEEDED if name not in given)
    for problem in chain(unknown, twice, missing):
        raise ValueError(f"{path} {problem}; valid: {', '.join(_COLUMNS)}")


def _row(path: Path, line: int, names: list[str], cells: list[str]) -> dict[str, float]:
    if len(cells) != len(names):
        raise ValueError(f"{path}, line {line}: {len(cells)} values for {len(names)} columns")
    values = {}
    for name, text in zip(names, cells, strict=True):
        try:
            values[name] = plain_number(text.strip())
        except ValueError:
            values[name] = math.nan
        if not _is_valid(name, values[name]):
            problem = f"{name} {shown(text)!r}; valid: {_valid_range(name)}"
            raise ValueError(f"{path}, line {line}: {problem}")
    return values


def _is_valid(name: str, value: float) -> bool:
    if name == "cell" and not value.is_integer():
        return False
    if name == "dropout":
        return 0 <= value < 1
    return _POSITIVE.get(name, 0) <= value <= _MOST.get(name, _LONGEST_S)


def _valid_range(name: str) -> str:
    if name == "cell":
        return "a whole number from 0"
    if name in ("loss", "dropout"):
        return "0 to 0.5" if name == "loss" else "0 to below 1"
    if name in _POSITIVE:
        return f"a finite number above 0 ({_POSITIVE[name]:g} to {_MOST[name]:g})"
    return f"a finite number at or above 0 (up to {_LONGEST_S:g})"


def _link(row: Mapping[str, float]) -> ClientLink:
    return ClientLink(
        *(row["down_bits_per_s"], row["up_bits_per_s"], row["rtt_s"]),
        row["compute_s_per_example"],
        jitter_s=row.get("jitter_s", 0.0),
        loss=row.get("loss", 0.0),
        dropout=row.get("dropout", 0.0),
        cell=int(row.get("cell", 0)),
    )
