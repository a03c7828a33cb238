"""Units of data, rate and time: parsing, formatting, and the project's only conversion constants.

In the code a quantity is a plain number and its name ends in the unit (``_s``, ``_bytes``,
``_bits_per_s``). Texts with units occur only in profiles, on command lines and in reports; this
module parses and formats them. Prefixes are decimal (1 kB = 1,000 bytes, 1 Mbit/s = 10**6 bit/s);
KiB, MiB and GiB are binary. ``Mbps`` always means megabits per second.

Quantities have wide limits, so that no product or quotient of them leaves the range of a float.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

from floss_sim.errors import UnitError

BITS_PER_BYTE = 8

_RATES_BITS_PER_S: Mapping[str, float] = {
    "bit/s": 1.0,
    "kbit/s": 1e3,
    "Mbit/s": 1e6,
    "Gbit/s": 1e9,
    "bps": 1.0,
    "kbps": 1e3,
    "Mbps": 1e6,
    "Gbps": 1e9,
    "kB/s": 1e3 * BITS_PER_BYTE,
    "MB/s": 1e6 * BITS_PER_BYTE,
    "GB/s": 1e9 * BITS_PER_BYTE,
}
_DURATIONS_S: Mapping[str, float] = {
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}
_SHOWN_DURATIONS = [(name, _DURATIONS_S[name]) for name in ("d", "h", "min", "s", "ms")]
_SIZES_BYTES: Mapping[str, float] = {
    "B": 1.0,
    "kB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
    "TB": 1e12,
    "KiB": 2.0**10,
    "MiB": 2.0**20,
    "GiB": 2.0**30,
}
_ENERGIES_J: Mapping[str, float] = {
    "J": 1.0,
    "kJ": 1e3,
    "MJ": 1e6,
    "GJ": 1e9,
    "Wh": 3600.0,
    "kWh": 3.6e6,
}
_SHOWN_ENERGIES = [(name, _ENERGIES_J[name]) for name in ("GJ", "MJ", "kJ", "J")]
_MOST_J = 1e18
_LARGE_ERROR = 0.5  # relative; larger ones are shown as a range
_OPERATIONS_PER_S: Mapping[str, float] = {
    "FLOP/s": 1.0,
    "MFLOP/s": 1e6,
    "GFLOP/s": 1e9,
    "TFLOP/s": 1e12,
    "PFLOP/s": 1e15,
}
_LEAST_OPERATIONS_PER_S, _MOST_OPERATIONS_PER_S = 1e3, 1e21
_LOWEST_BITS_PER_S, _HIGHEST_BITS_PER_S = 1e-3, 1e18
_LONGEST_S = 1e18
_MOST_BYTES = 10**18
_QUANTITY = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-z/]+)\s*")


def _parse(text: object, units: Mapping[str, float], what: str, example: str) -> float:
    match = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise UnitError(f"{what} {text!r} is not a number with a unit, such as {example!r}")
    number, unit = float(match[1]), match[2]
    if unit not in units:
        raise UnitError(f"{what} {text!r} has unit {unit!r}; valid units: {', '.join(units)}")
    value = number * units[unit]
    if not math.isfinite(value):
        raise UnitError(f"{what} {text!r} is not finite")
    return value


def parse_rate(text: object) -> float:
    """Parse a rate such as ``"200 Mbit/s"``; return it in bit/s.

    Raises:
        UnitError: The text is not a number with a known unit, or the rate is not positive or out
            of range.
    """
    rate = _parse(text, _RATES_BITS_PER_S, "rate", "20 Mbit/s")
    return _checked_rate(rate, f"rate {text!r}", _LOWEST_BITS_PER_S, _HIGHEST_BITS_PER_S, "bit/s")


def _checked_rate(rate: float, what: str, lowest: float, highest: float, unit: str) -> float:
    """Return a rate that lies between two bounds.

    Raises:
        UnitError: It does not.
    """
    if rate <= 0:
        raise UnitError(f"{what} must be above zero")
    if not lowest <= rate <= highest:
        raise UnitError(f"{what} is out of range; valid: {lowest:g} to {highest:g} {unit}")
    return rate


def parse_duration(text: object) -> float:
    """Parse a duration such as ``"36 ms"`` or ``"2h"``; return it in seconds.

    Raises:
        UnitError: The text is not a number with a known unit, or the duration is negative or too
            long.
    """
    duration = _parse(text, _DURATIONS_S, "duration", "36 ms")
    if duration < 0:
        raise UnitError(f"duration {text!r} must not be negative")
    if duration > _LONGEST_S:
        raise UnitError(f"duration {text!r} is too long; valid: at most {_LONGEST_S:g} s")
    return duration


def parse_bytes(text: object) -> int:
    """Parse a size such as ``"2GB"`` or ``"500 MB"``; return it in bytes.

    Raises:
        UnitError: The text is not a number with a known unit, or the size is below one byte or too
            large.
    """
    size = _parse(text, _SIZES_BYTES, "size", "500 MB")
    if size < 1:
        raise UnitError(f"size {text!r} must be at least one byte")
    if size > _MOST_BYTES:
        raise UnitError(f"size {text!r} is too large; valid: at most {_MOST_BYTES // 10**12} TB")
    return round(size)


def parse_energy(text: object) -> float:
    """Parse an energy such as ``"500 kJ"`` or ``"15Wh"``; return it in joules.

    Raises:
        UnitError: The text is not a number with a known unit, or the energy is not positive or too
            large.
    """
    joules = _parse(text, _ENERGIES_J, "energy", "15 Wh")
    if joules <= 0:
        raise UnitError(f"energy {text!r} must be above zero")
    if joules > _MOST_J:
        raise UnitError(f"energy {text!r} is too large; valid: at most {_MOST_J:g} J")
    return joules


def parse_operation_rate(text: object) -> float:
    """Parse a rate of operations such as ``"120 GFLOP/s"``; return operations in a second.

    Raises:
        UnitError: The text is not a number with a known unit, or the rate is not positive or out
            of range.
    """
    rate = _parse(text, _OPERATIONS_PER_S, "rate of operations", "120 GFLOP/s")
    what = f"rate of operations {text!r}"
    return _checked_rate(rate, what, _LEAST_OPERATIONS_PER_S, _MOST_OPERATIONS_PER_S, "FLOP/s")


def format_operations(operations: float) -> str:
    """Return a number of operations as text with a decimal prefix, such as ``"137 GFLOP"``."""
    units = [("PFLOP", 1e15), ("TFLOP", 1e12), ("GFLOP", 1e9), ("MFLOP", 1e6), ("kFLOP", 1e3)]
    return _format(operations, units)


def format_operation_rate(per_s: float) -> str:
    """Return a rate of operations as text with a decimal prefix, such as ``"120 GFLOP/s"``."""
    return f"{format_operations(per_s)}/s"


def format_energy(joules: float) -> str:
    """Return an energy as text with a decimal prefix, such as ``"54 kJ"``."""
    return _format(joules, _SHOWN_ENERGIES)


def format_money(amount: float, currency: str) -> str:
    """Return money as text: ``"12.50 EUR"``; below 1 with 3 significant digits."""
    digits = f"{amount:,.2f}" if amount >= 1 else f"{amount:.3g}"
    return f"{digits} {currency}"


def format_bytes(nbytes: float) -> str:
    """Return a size as text with a decimal prefix and 3 significant digits: ``"68.2 kB"``."""
    return _format(nbytes, [("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1.0)])


def format_predicted_bytes(nbytes: float, error: float) -> str:
    """Return predicted bytes with their relative error, such as ``42.8 kB ± 4 %``.

    A large error is not symmetric about the prediction: ``42.8 kB (28.5 kB to 85.7 kB)``. An error
    of 1 or more only says how much too large predictions were: ``42.8 kB (at least 19.5 kB)``.

    Args:
        nbytes: The predicted bytes, p.
        error: Largest size of p / r - 1 that is believed, where r are the real bytes.
    """
    if error < _LARGE_ERROR:
        return f"{format_bytes(nbytes)} {format_error(error)}"
    low = format_bytes(nbytes / (1 + error))
    if error >= 1:
        return f"{format_bytes(nbytes)} (at least {low})"
    return f"{format_bytes(nbytes)} ({low} to {format_bytes(nbytes / (1 - error))})"


def format_error(error: float) -> str:
    """Return the relative error of a predicted size: ``± 4 %``, or the real share of it.

    Such a share is ``67 to 200 % of it``, or ``at least 45 % of it``: see
    :func:`format_predicted_bytes`.
    """
    if error < _LARGE_ERROR:
        return f"± {max(1, round(100 * error))} %"
    low = f"{100 / (1 + error):.0f}"
    return f"at least {low} % of it" if error >= 1 else f"{low} to {100 / (1 - error):.0f} % of it"


def format_duration(seconds: float, unit: str | None = None) -> str:
    """Return a duration as text: ``"41.2 ms"`` or ``"2.5 h"``.

    Args:
        seconds: The duration.
        unit: A unit, such as that of a table's column (:func:`common_unit`); None is the largest
            in which the duration is at least 1.
    """
    if unit is None:
        return _format(seconds, _SHOWN_DURATIONS)
    return f"{_digits(seconds / _DURATIONS_S[unit])} {unit}"


def common_unit(seconds: Iterable[float]) -> str | None:
    """Return the unit in which the durations of a table's column are easy to compare.

    It is the smallest unit, from that of the shortest duration to that of the longest, in which the
    longest is below 1,000. None if the shortest is below 0.01 s or a tenth of a longer unit: then
    each has its own unit.
    """
    known = [each for each in seconds if each > 0]
    if not known:
        return None
    low, high = min(known), max(known)
    units = _SHOWN_DURATIONS[
        _unit_index(high, _SHOWN_DURATIONS) : _unit_index(low, _SHOWN_DURATIONS) + 1
    ]  # the largest first
    name, scale = next((u for u in reversed(units) if high < 1000 * u[1]), units[0])
    least_s = 0.1 * scale if scale > 1 else 0.01
    return name if name == units[-1][0] or low >= least_s else None


def duration_texts(seconds: Sequence[float]) -> list[str]:
    """Return the texts of the durations of a table's column, in one unit if possible."""
    unit = common_unit(seconds)
    return [format_duration(each, unit) for each in seconds]


def format_rate(bits_per_s: float) -> str:
    """Return a rate as text with a decimal prefix, such as ``"20 Mbit/s"``."""
    return _format(bits_per_s, [("Gbit/s", 1e9), ("Mbit/s", 1e6), ("kbit/s", 1e3), ("bit/s", 1.0)])


def _format(value: float, units: list[tuple[str, float]]) -> str:
    at = _unit_index(value, units)
    name, scale = units[at]
    digits = _digits(value / scale)
    if (
        at and abs(float(digits)) * scale >= units[at - 1][1]
    ):  # 999.9 kB rounds to 1 MB, not to 1000 kB
        return _format(float(digits) * scale, units)
    return f"{digits} {name}"


def _unit_index(value: float, units: Sequence[tuple[str, float]]) -> int:
    """Return the index of the largest unit, of some in descending order, that a value reaches."""
    reached = (i for i, (_, scale) in enumerate(units) if abs(value) >= scale)
    return next(reached, len(units) - 1)


def _digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
