"""Units in the names of columns: rates and times in their usual spellings.

A unit is found only if its spelling leaves no doubt. ``b`` is a bit and ``B`` a byte where capital
and small letters are kept apart (``Mb/s``, ``MBps``); ``mbps`` is megabits, as everywhere;
``MBPS``, ``MB/S`` and ``mb/s`` may be either, so that the caller must ask. A short spelling of a
time (``s``, ``us``) counts only at the end of a name, because it may be part of another word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from floss_sim.errors import UnitError
from floss_sim.network.text_lines import shown
from floss_sim.units import BITS_PER_BYTE, parse_duration, parse_rate

_PREFIXES: Mapping[str, float] = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12} | {
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30,
}  # fmt: skip
_PREFIX_WORDS: Mapping[str, str] = {
    "kilo": "k", "mega": "M", "giga": "G", "tera": "T", "kibi": "Ki", "mebi": "Mi", "gibi": "Gi",
}  # fmt: skip
_EVERY_S = r"ps|\s*/\s*s(?:ec(?:ond)?s?)?|[\s_]*per[\s_]*s(?:ec(?:ond)?s?)?"
# A unit begins a word, or is the capital in the middle of a name such as downloadMbps.
_BEGIN = r"(?-i:(?<![A-Za-z0-9/.μ'`\u2019\u02bc\u00b4])|(?<=[a-z][a-z])(?=[KMGT]))"
_END = r"(?![a-zμ0-9/²]|(?-i:[A-Z])(?![a-z]))"
_RATE = re.compile(
    rf"{_BEGIN}(?P<prefix>kilo|mega|giga|tera|kibi|mebi|gibi|[kmg]i|[kmgt])?[\s_]?"
    rf"(?P<data>bits?|bytes?|b)(?P<every>{_EVERY_S})(?-i:{_END})",
    re.IGNORECASE,
)
_TIMES: Mapping[str, frozenset[str]] = {
    "us": frozenset({"microseconds", "microsecond", "usecs", "usec", "μsecs", "μsec", "μs", "us"}),
    "ms": frozenset({"milliseconds", "millisecond", "millis", "msecs", "msec", "ms"}),
    "s": frozenset({"seconds", "secs", "sec", "s"}),
    "ns": frozenset({"nanoseconds", "nanosecond", "nsecs", "nsec", "ns"}),
}
_TIME = re.compile(
    rf"{_BEGIN}(?:{'|'.join(sorted(set().union(*_TIMES.values()), key=len, reverse=True))})"
    rf"(?-i:{_END})",
    re.IGNORECASE,
)
_SECONDS: Mapping[str, float] = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
_SHORT = frozenset({"s", "us", "ns", "sec"})  # may also be a country, a plural or an ordinal
_STATISTICS = "avg|average|mean|median|med|min|max|minimum|maximum|typical|best|worst"
_REST = re.compile(rf"(?:[\s_\-.,:;()\[\]{{}}]|(?:{_STATISTICS}|p[0-9]{{1,2}})(?![a-z]))*", re.I)
_PLURAL_END = re.compile(
    rf"(?<![a-z])(?:latency|rtt|ping|time|delay|{_STATISTICS})\((?:s|sec)\)", re.I
)
_NUMBER_BEFORE = re.compile(r"(?<![A-Za-z0-9.,])[0-9]+(?:[.,][0-9]+)?[\s_]*$")
_PLACE_BEFORE = re.compile(r"(?<![a-z])(?:to|from|of|the|for)[\s_]+$", re.IGNORECASE)


@dataclass(frozen=True)
class Unit:
    """Unit of a column: its name, and its size in bits per second or seconds."""

    name: str
    size: float


def rate_unit(column: str, stated: str | None) -> Unit:
    """Return the unit of a column of rates: the unit stated, or the only one in the name.

    Raises:
        UnitError: The stated unit is unknown or unclear, or the name has no clear unit.
    """
    if stated is None:
        return _only_unit(column, _rates_in(column), "--rate-unit Mbit/s")
    text = stated.strip()
    match = _RATE.fullmatch(unicodedata.normalize("NFKC", text))
    found = _rate_of(match) if match else Unit(text, parse_rate(f"1 {text}"))
    if found is None:
        raise UnitError(
            f"rate unit {stated!r} may mean bits or bytes; valid: Mbit/s or MB/s, and so on"
        )
    return found


def time_unit(column: str, stated: str | None) -> Unit:
    """Return the unit of a column of times: the unit stated, or the only one in the name.

    Raises:
        UnitError: The stated unit is unknown, or the name has no clear unit.
    """
    if stated is None:
        return _only_unit(column, _times_in(column), "--latency-unit ms")
    text = unicodedata.normalize("NFKC", stated.strip())
    name = next((unit for unit, names in _TIMES.items() if text.lower() in names), text)
    return Unit(name, _SECONDS.get(name) or parse_duration(f"1 {stated.strip()}"))


def has_rate_unit(column: str) -> bool:
    """Return whether a name has a unit of rate, clear or not."""
    return bool(_rates_in(column))


def has_time_unit(column: str) -> bool:
    """Return whether a name has a unit of time, clear or not."""
    return bool(_times_in(column))


def _only_unit(column: str, units: Iterable[Unit | None], option: str) -> Unit:
    found = list(units)
    if None not in found and len({unit.size for unit in found if unit}) == 1:
        return next(unit for unit in found if unit)
    raise UnitError(
        f"the name of column {shown(column)!r} has no clear unit, or more than one; state it, such "
        f"as {option} (units are not guessed from the numbers)"
    )


def _rates_in(column: str) -> list[Unit | None]:
    """Return the units of rate in a name; None for one that may mean bits or bytes."""
    name = unicodedata.normalize("NFKC", column)
    return [
        _rate_of(match)
        for match in _RATE.finditer(name)
        if not _NUMBER_BEFORE.search(name[: match.start()])
    ]


def _rate_of(match: re.Match[str]) -> Unit | None:
    prefix, data, every = match["prefix"] or "", match["data"], match["every"]
    short = _PREFIX_WORDS.get(prefix.lower(), prefix)
    is_byte = data.lower().startswith("byte") or data == "B"
    if len(data) == 1 and _is_unclear(prefix, data, every):
        return None
    known = {name.lower(): name for name in _PREFIXES}
    short = known[short.lower()]
    size = _PREFIXES[short] * (BITS_PER_BYTE if is_byte else 1)
    if is_byte:
        return Unit(f"{short}B/s", size)
    return Unit(f"{short}bps" if every.lower() == "ps" else f"{short}bit/s", size)


def _is_unclear(prefix: str, data: str, every: str) -> bool:
    """Return whether the letters do not tell a bit (b) from a byte (B)."""
    if data == "B":  # capitals throughout, or mega as a small m
        return prefix[:1] in ("m", "g", "t") or any(c.isupper() for c in every)
    # mb/s is often written for megabytes; mbps is not
    return any(c.isupper() for c in every) or (prefix in ("m", "g", "t") and every != "ps")


def _times_in(column: str) -> list[Unit | None]:
    """Return the units of time in a name; None for one that may be something else."""
    name = unicodedata.normalize("NFKC", column)
    return [
        _time_of(name, match)
        for match in _TIME.finditer(name)
        if not _NUMBER_BEFORE.search(name[: match.start()])
    ]


def _time_of(name: str, match: re.Match[str]) -> Unit | None:
    text, before = match[0], name[: match.start()]
    unit = next(unit for unit, names in _TIMES.items() if text.lower() in names)
    is_last = _REST.fullmatch(name, match.end()) is not None
    if text.lower() in _SHORT:
        glued = re.search(r"[a-z]\($", before, re.IGNORECASE)
        plural = glued and not _PLURAL_END.search(name[: match.end() + 1])
        is_mixed = text != text.lower() and any(c.islower() for c in before)
        country = text == "US" or is_mixed
        if not is_last or plural or country or _PLACE_BEFORE.search(before):
            return None
    elif text == "MS" and not is_last and any(c.islower() for c in name):
        return None
    return Unit(unit, _SECONDS[unit])
