"""Second readings of network files, written to be obvious: CSV, numbers, units."""

from __future__ import annotations

import math
import re
from decimal import Decimal, InvalidOperation

# Spellings in names of columns that leave no doubt, with bit/s; longer ones come first.
RATE_UNITS = {
    "bit/s": 1.0, "kbit/s": 1e3, "Mbit/s": 1e6, "Gbit/s": 1e9, "mbit/s": 1e6, "MBit/s": 1e6,
    "bps": 1.0, "kbps": 1e3, "Kbps": 1e3, "Mbps": 1e6, "mbps": 1e6, "Gbps": 1e9, "gbps": 1e9,
    "B/s": 8.0, "kB/s": 8e3, "KB/s": 8e3, "MB/s": 8e6, "GB/s": 8e9, "b/s": 1.0, "kb/s": 1e3,
    "Kb/s": 1e3, "Mb/s": 1e6, "Gb/s": 1e9, "Bps": 8.0, "kBps": 8e3, "KBps": 8e3, "MBps": 8e6,
    "GBps": 8e9, "bits_per_s": 1.0, "Mbit per second": 1e6, "MBIT/S": 1e6, "tbps": 1e12,
    "Tbps": 1e12, "TB/s": 8e12, "Tb/s": 1e12, "TBps": 8e12, "Tbit/s": 1e12,
}  # fmt: skip
UNCLEAR_RATES = ("MBPS", "KBPS", "MB/S", "mb/s", "gb/s", "Mbit", "MB", "", "speed", "kbps_mbps")
TIME_UNITS = {
    "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "usec": 1e-6, "ms": 1e-3, "msec": 1e-3, "MS": 1e-3,
    "Ms": 1e-3, "milliseconds": 1e-3, "microseconds": 1e-6, "s": 1.0, "sec": 1.0, "seconds": 1.0,
    "S": 1.0, "ns": 1e-9, "Sec": 1.0,
}  # fmt: skip
UNCLEAR_TIMES = ("", "min", "US", "ms/us", "мс", "of server's", "10s")
MISSING = {"", "-", "--", "na", "n/a", "nan", "nil", "none", "null"}


class NoCsvError(Exception):
    """A text is no CSV by RFC 4180."""


def text_of(content: bytes) -> str:
    """Return a file's text with plain line ends."""
    return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def csv_rows(text: str, delimiter: str) -> list[list[str]]:
    """Return the rows of a CSV text; quotes count at the beginning of a cell alone."""
    rows: list[list[str]] = [[]]
    at = 0
    while at <= len(text):
        if text[at : at + 1] == '"':
            end = at + 1
            cell = ""
            while True:
                stop = text.find('"', end)
                if stop < 0:
                    raise NoCsvError("a quote without an end")
                cell += text[end:stop]
                if text[stop + 1 : stop + 2] != '"':
                    break
                cell, end = cell + '"', stop + 2
            at = stop + 1
        else:
            ends = [i for i in (text.find(delimiter, at), text.find("\n", at)) if i >= 0]
            end = min(ends, default=len(text))
            cell, at = text[at:end], end
        rows[-1].append(cell)
        if at < len(text) and text[at] not in (delimiter, "\n"):
            raise NoCsvError("text after a quote")
        if at < len(text) and text[at] == "\n":
            rows.append([])
        at += 1
    return [row for row in rows if len(row) > 1 or "".join(row).strip()]


def number_of(text: str, decimal: str) -> float:
    """Return a cell's number with a decimal sign; NaN if missing, infinity if it is none."""
    if text.lower() in MISSING:
        return math.nan
    if len(text) > 60 or re.search(r"[eE][+-]?[0-9]{5}", text):  # limits of the reader
        return math.inf
    for space in "\u00a0\u2007\u2009\u202f":
        text = text.replace(space, " ")
    text = text.replace("\u2212", "-").replace("\u2019", "'")
    whole, sign, part = text.partition(decimal)
    for group in {",", ".", " ", "'"} - {decimal}:
        parts = whole.lstrip("+-").split(group)
        if len(parts) > 1 and all(len(three) == 3 for three in parts[1:]):
            exact = parts[0][:1] != "0" and 1 <= len(parts[0]) <= 3 and all(map(digits, parts))
            if exact and (digits(part) or not sign) and len(whole.lstrip("+-")) >= len(whole) - 1:
                whole = whole.replace(group, "")
                break
    plain = f"{whole}{'.' if sign else ''}{part}"
    try:
        if "." in whole or "," in whole or not re.fullmatch(r"[-+0-9eE.]+", plain):
            return math.inf
        value = float(Decimal(plain))
    except (InvalidOperation, OverflowError, ValueError):
        return math.inf
    return value if math.isfinite(value) else math.inf


def digits(text: str) -> bool:
    """Return whether a text is one or more ASCII digits."""
    return text.isascii() and text.isdigit()


def sizes_in(name: str, units: dict[str, float]) -> set[float]:
    """Return the sizes of the units whose spelling is in a name and in no longer one there."""
    found = sorted((unit for unit in units if unit in name), key=len, reverse=True)
    longest = [unit for i, unit in enumerate(found) if not any(unit in f for f in found[:i])]
    return {units[unit] for unit in longest}
