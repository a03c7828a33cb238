"""Numbers of a CSV file whose decimal sign is not known before all of them have been seen.

Every cell is read twice, with a decimal point and with a decimal comma; the other sign, spaces and
apostrophes may group thousands. ``12.5`` is a number only with a point, ``1.234,5`` only with a
comma, and ``12,345`` is one with either. The cells that are numbers one way only decide for the
whole file.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from floss_sim.errors import ProfileError
from floss_sim.network.text_lines import shown

Decimal = Literal[".", ","]
_SIGNS: tuple[Decimal, ...] = get_args(Decimal)
_MISSING = frozenset({"", "-", "--", "na", "n/a", "nan", "nil", "none", "null"})
_LONGEST = 60  # characters of a number
_SPACES = str.maketrans("\u00a0\u2007\u2009\u202f\u2019\u2212", "    '-")
_ODD_SHARE = 0.01  # cells against a sign that count as slips, and evidence that is too little
_FEWEST_GROUPED = 100  # cells such as 12,345 that show thousands, beside smaller whole numbers
_FEWEST_WHOLE = 3
_WHOLE_SHARE = 0.02


def _pattern(decimal: Decimal) -> re.Pattern[str]:
    point, other = re.escape(decimal), "," if decimal == "." else "."
    grouped = rf"[1-9][0-9]{{0,2}}(?P<group>[{other} '])[0-9]{{3}}(?:(?P=group)[0-9]{{3}})*"
    plain = rf"(?:[0-9]+(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]{{1,4}})?"
    return re.compile(rf"[+-]?(?:{plain}|{grouped}(?:{point}[0-9]+)?)")


_PATTERNS: Mapping[Decimal, re.Pattern[str]] = {sign: _pattern(sign) for sign in _SIGNS}


def readings(text: str) -> tuple[float, float]:
    """Return a cell as a number with a decimal point, and as one with a decimal comma.

    NaN is a value that is missing; infinity is a text that is no finite number.
    """
    return _readings(text) if len(text) <= _LONGEST else (math.inf, math.inf)


@lru_cache(maxsize=1 << 16)
def _readings(text: str) -> tuple[float, float]:
    if text.lower() in _MISSING:
        return math.nan, math.nan
    plain = text.translate(_SPACES)
    return _reading(plain, "."), _reading(plain, ",")


def _reading(text: str, decimal: Decimal) -> float:
    match = _PATTERNS[decimal].fullmatch(text)
    if match is None:
        return math.inf
    if match["group"]:
        text = text.replace(match["group"], "")
    value = float(text.replace(decimal, "."))
    return value if math.isfinite(value) else math.inf


@dataclass
class NumberCells:
    """Numbers of C columns, row by row, read both ways.

    Attributes:
        names: Names of the columns (C,).
    """

    names: Sequence[str]
    _lines: array[int] = field(default_factory=lambda: array("q"))
    _read: Mapping[Decimal, array[float]] = field(
        default_factory=lambda: {sign: array("d") for sign in _SIGNS}
    )
    _samples: dict[str, str] = field(default_factory=dict)

    def add(self, line: int, cells: Sequence[str]) -> None:
        """Add a row: its line in the file, and one cell of each column."""
        self._lines.append(line)
        for name, text in zip(self.names, cells, strict=True):
            point, comma = readings(text)
            self._read["."].append(point)
            self._read[","].append(comma)
            if point != comma and not math.isnan(point):
                self._keep_sample(name, text, point, comma, line)
            elif math.isinf(point):
                self._samples.setdefault("neither", _where(line, name, text))

    def _keep_sample(self, name: str, text: str, point: float, comma: float, line: int) -> None:
        if math.isfinite(point) and math.isfinite(comma):
            sample = f"{text!r} in {shown(name)} may be {point:.12g} or {comma:.12g}"
            self._samples.setdefault("both", sample)
        else:
            self._samples.setdefault("." if math.isfinite(point) else ",", _where(line, name, text))

    def lines(self) -> NDArray[np.int64]:
        """Return the line of each row (R,)."""
        return np.frombuffer(self._lines, np.int64) if self._lines else np.zeros(0, np.int64)

    def values(self, decimal: Decimal) -> NDArray[np.float64]:
        """Return the numbers (R, C); NaN for a missing one, infinity for what is no finite one."""
        read = self._read[decimal]
        flat = np.frombuffer(read, np.float64) if read else np.zeros(0)
        return flat.reshape(-1, len(self.names))

    def bad_sample(self, decimal: Decimal) -> str | None:
        """Return the first cell that is no number with a decimal sign, for a message."""
        return self._samples.get("neither") or self._samples.get(_other(decimal))

    def decimal(self) -> Decimal:
        """Return the decimal sign that the cells show; a point if it makes no difference.

        Raises:
            ProfileError: The cells show both signs, or leave open which one it is.
        """
        point, comma = self.values("."), self.values(",")
        a, b = np.isfinite(point), np.isfinite(comma)
        only = {".": int((a & ~b).sum()), ",": int((b & ~a).sum())}
        unclear = int((a & b & (point != comma)).sum())
        sign: Decimal = "." if only["."] >= only[","] else ","
        most, least = only[sign], only[_other(sign)]
        if least > _ODD_SHARE * (most + least):
            raise ProfileError(
                f"decimal points and decimal commas: {self._samples['.']}, {self._samples[',']}; "
                "valid: one of the two, or state it with --decimal and use --skip-bad"
            )
        if not unclear or most > _ODD_SHARE * (most + unclear):
            return sign
        columns = zip(point.T, comma.T, strict=True)
        signs = {shows for pair in columns if (shows := _sign_of_grouped(*pair))}
        if len(signs) == 1:
            return signs.pop()
        raise ProfileError(
            f"{self._samples['both']}, and the other numbers do not show which; "
            "state the decimal sign with --decimal . or --decimal ,"
        )


def _sign_of_grouped(a: NDArray[np.float64], b: NDArray[np.float64]) -> Decimal | None:
    """Return the decimal sign if a column shows grouped thousands, such as 391 and 12,345.

    Many cells with exactly three digits after the sign, and some whole numbers without one, all
    below 1,000: decimals would have other lengths too. ``a`` and ``b`` are the column's numbers
    with a decimal point and with a decimal comma.
    """
    same = np.isfinite(a) & (a == b) & (a > 0)
    differ = np.isfinite(a) & np.isfinite(b) & (a != b)
    whole, grouped = int(same.sum()), int(differ.sum())
    if grouped < _FEWEST_GROUPED or (a[same] >= 1000).any():
        return None
    if whole < max(_FEWEST_WHOLE, _WHOLE_SHARE * (whole + grouped)):
        return None
    larger = a[differ] > b[differ]
    if larger.all():
        return "."
    return None if larger.any() else ","


def _other(decimal: Decimal) -> Decimal:
    return "," if decimal == "." else "."


def _where(line: int, name: str, text: str) -> str:
    return f"line {line} has {shown(text)!r} in {shown(name)}"
