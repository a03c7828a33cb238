"""Network files in many spellings, damaged, with what a reader may make of them."""

from __future__ import annotations

import gzip
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from network_oracles import (
    RATE_UNITS,
    TIME_UNITS,
    UNCLEAR_RATES,
    UNCLEAR_TIMES,
    csv_rows,
    number_of,
    sizes_in,
    text_of,
)

from floss_sim.network.fleets.rows import LinkRows, read_rows
from floss_sim.network.measured.speed_tests import ReadOptions, SpeedTests, read_speed_tests
from floss_sim.network.traces.rate_trace import RateTrace
from floss_sim.network.traces.trace_files import read_trace

PACKET_BITS = 12_000
ROW_COLUMNS = ("down_bits_per_s", "up_bits_per_s", "rtt_s", "compute_s_per_example", "jitter_s",
               "loss", "dropout", "cell", "weight")  # fmt: skip
JUNK = ("", "NA", "nan", "inf", "-1", "0", "fast", "1e400", "1_000", "\u0661\u0662", "0x1f", "1,5",
        "1.5", "12.345", "12,345", "1,234,567.8", "1 234", '"', '""', "5 ms", "9" * 70, "1e308",
        "\x00", "\ufeff", "1e-320", "=1+1", "true", "-0", "+7", "1.2.3", "7e", "''")  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """A damaged file, and how it was spelled before.

    Attributes:
        reader: Key of ``READERS``.
        name: Name of the file.
        content: Bytes of the file.
        form: Settings of the reader, and the spelling of the file for the second reading.
    """

    reader: str
    name: str
    content: bytes
    form: dict[str, Any] = field(default_factory=dict)

    def read(self, path: Path) -> Any:
        """Return what the reader makes of the file."""
        return READERS[self.reader][1](self, path)

    def problem(self, value: Any) -> str:
        """Return what is wrong with what the reader made of the file, or nothing."""
        try:
            return READERS[self.reader][2](self, value)
        except Exception as error:
            return f"accepted, but the second reading fails: {error!r} ({self.content[:200]!r})"


def mutants(reader: str, count: int, draw: random.Random) -> Iterator[Mutant]:
    """Yield damaged files for a reader; one in eight is as it was made."""
    for _ in range(count):
        made = READERS[reader][0](draw)
        content = made.content
        for _ in range(draw.choice((0, 1, 1, 1, 1, 2, 3, 8))):
            content = _damaged(content, draw)
        if made.name.endswith(".gz"):
            content = gzip.compress(content, 1)
            if draw.random() < 0.3:
                content = _bytes_damaged(content, draw)
        yield Mutant(made.reader, made.name, content, made.form)


def _damaged(content: bytes, draw: random.Random) -> bytes:
    return draw.choice((_bytes_damaged, _bytes_damaged, _lines_damaged, _cells_damaged))(
        content, draw
    )


def _bytes_damaged(content: bytes, draw: random.Random) -> bytes:
    if not content:
        return content
    data, at = bytearray(content), draw.randrange(len(content))
    kind = draw.randrange(7)
    if kind == 0:
        data[at] ^= 1 << draw.randrange(8)
    elif kind == 1:
        del data[at : at + draw.choice((1, 1, 1, 5, 50))]
    elif kind == 2:
        data[at:at] = draw.choice((b",", b".", b";", b'"', b"\n", b"\r", b"-", b"e", b"0", b"\x00"))
    elif kind == 3:
        data[at:at] = data[at : at + draw.choice((1, 3, 30))]
    elif kind == 4:
        data[at] = draw.choice(b"0123456789,.;\"'\n\t -+eE_xMmkKbBps/")
    elif kind == 5:
        del data[at:]
    else:
        data[at : at + 1] = draw.choice(("µ", "\u2028", "\x85", "\ufeff", "é", "\x0c")).encode()
    return bytes(data)


def _lines_damaged(content: bytes, draw: random.Random) -> bytes:
    lines = content.split(b"\n")
    at, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    kind = draw.randrange(6)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(at, lines[other])
    elif kind == 2:
        lines[at], lines[other] = lines[other], lines[at]
    elif kind == 3:
        lines[at] += lines[other]
    elif kind == 4:
        lines = [line + b"\r" for line in lines]
    else:
        return draw.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\n\n", b"#c\n", b"sep=;\n")) + content
    return b"\n".join(lines)


def _cells_damaged(content: bytes, draw: random.Random) -> bytes:
    lines = content.split(b"\n")
    delimiter = max((b",", b";", b"\t"), key=lines[0].count)
    at = draw.randrange(len(lines))
    cells = lines[at].split(delimiter)
    place = draw.randrange(len(cells))
    kind = draw.randrange(4)
    if kind == 0:
        cells[place] = draw.choice(JUNK).encode()
    elif kind == 1:
        del cells[place]
    elif kind == 2:
        cells.insert(place, draw.choice(JUNK).encode())
    else:
        cells[place] = cells[place].translate(bytes.maketrans(b".,", b",."))
    lines[at] = delimiter.join(cells)
    return b"\n".join(lines)


# traces


def _csv_trace(draw: random.Random) -> Mutant:
    unit = draw.choice(("kbit/s", "Mbit/s", "bit/s", "kbps", "MB/s"))
    at_s, lines = draw.choice((0.0, 100.5)), [f"seconds,{unit}"]
    for _ in range(draw.randint(1, 30)):
        rate = draw.choice(
            (0, draw.randint(1, 9), draw.randint(1, 5000), round(draw.uniform(0, 900), 3))
        )
        lines.append(f"{at_s:.6g},{rate}")
        at_s += draw.choice((1, 0.5, draw.uniform(0.01, 90)))
    form = {"at_end": draw.choice(("repeat", "hold")), "bin_s": 0.1}
    return Mutant("csv trace", "t.csv", "\n".join([*lines, ""]).encode(), form)


def _mahimahi(draw: random.Random) -> Mutant:
    most = draw.choice((3, 50, 3000))
    stamps = sorted(draw.randint(0, most) for _ in range(draw.randint(1, 60)))
    form = {"at_end": draw.choice(("repeat", "hold")), "bin_s": draw.choice((0.001, 0.02, 0.1, 1))}
    text = "\n".join([*map(str, stamps), ""])
    return Mutant("mahimahi", "t.trace", text.encode(), form)


def _read_trace(mutant: Mutant, path: Path) -> RateTrace:
    return read_trace(path, mutant.form["at_end"], mutant.form["bin_s"])


def _trace_problem(mutant: Mutant, trace: RateTrace) -> str:
    lines = [line.strip() for line in text_of(mutant.content).split("\n")]
    lines = [line for line in lines if line]
    if lines[0].isdigit():
        return _mahimahi_problem([int(line) for line in lines], mutant.form["bin_s"], trace)
    rows = [[cell.strip(' \t"') for cell in line.split(",")] for line in lines]
    units = RATE_UNITS | {"kbps": 1e3, "kbit/s": 1e3}
    (seconds, unit), *body = rows
    at_s = [number_of(a, ".") for a, _ in body]
    rates = [number_of(b, ".") * units[unit.strip()] for _, b in body]
    starts = [a - at_s[0] for a in at_s]
    length = starts[-1] + (starts[-1] - starts[-2])
    same = (
        np.allclose(trace.starts_s, starts, 1e-12, 1e-12)
        and np.allclose(trace.bits_per_s, rates, 1e-12, 0)
        and math.isclose(trace.length_s, length, rel_tol=1e-12)
        and seconds == "seconds"
    )
    plain = all("," not in a and "_" not in a for row in body for a in row)
    return _carry_problem(trace) if same and plain else f"other pieces: {mutant.content!r}"


def _mahimahi_problem(stamps: list[int], bin_s: float, trace: RateTrace) -> str:
    period = stamps[-1]
    if stamps != sorted(stamps) or period == 0 or trace.length_s != period / 1000:
        return f"period {trace.length_s} s of {stamps[:20]}"
    bin_ms = round(bin_s * 1000)
    for at in {*range(bin_ms, period, bin_ms)} if period < 1e5 * bin_ms else ():
        due = PACKET_BITS * sum(stamp <= at for stamp in stamps)
        if not math.isclose(trace.bits_between(0, at / 1000), due, rel_tol=1e-9, abs_tol=1e-5):
            return f"bits by {at} ms of {stamps[:20]}"
    if trace.at_end == "repeat":
        passed, due = trace.bits_between(0, 5 * trace.length_s), 5 * PACKET_BITS * len(stamps)
        if not math.isclose(passed, due, rel_tol=1e-9):
            return f"{passed} bits of {due} in five periods of {stamps[:20]}"
    return _carry_problem(trace)


def _carry_problem(trace: RateTrace) -> str:
    """Return a word if a transfer of a megabyte does not take the time in which its bits pass."""
    took_s = trace.time_of(8e6, 0.0)
    passed = trace.bits_between(0.0, took_s)
    slack = max(trace.bits_per_s) * 8 * math.ulp(took_s)
    return "" if abs(passed - 8e6) <= 8e-1 + slack else f"{passed} of 8e6 bits in {took_s} s"


# rows


def _rows(draw: random.Random) -> Mutant:
    names = [*ROW_COLUMNS[:4], *(name for name in ROW_COLUMNS[4:] if draw.random() < 0.4)]
    draw.shuffle(names)
    values = {"down_bits_per_s": (1e5, 1e9), "up_bits_per_s": (1e5, 1e8), "rtt_s": (0, 1),
              "compute_s_per_example": (0, 0.1), "jitter_s": (0, 0.1), "loss": (0, 0.5),
              "dropout": (0, 0.9), "weight": (0.1, 9)}  # fmt: skip
    quote = draw.choice(("", "", '"'))
    lines = [",".join(names)]
    for _ in range(draw.randint(1, 12)):
        cells = [str(draw.randint(0, 3)) if n == "cell" else f"{draw.uniform(*values[n]):.6g}"
                 for n in names]  # fmt: skip
        lines.append(",".join(f"{quote}{cell}{quote}" for cell in cells))
    return Mutant("rows", "rows.csv", "\n".join([*lines, ""]).encode())


def _read_rows(mutant: Mutant, path: Path) -> LinkRows:
    return read_rows(path, {"compute_s_per_example": 0.25})


def _rows_problem(mutant: Mutant, read: LinkRows) -> str:
    header, *rows = csv_rows(text_of(mutant.content), ",")
    names = [name.strip() for name in header]
    defaults = dict.fromkeys(ROW_COLUMNS, 0.0) | {"compute_s_per_example": 0.25, "weight": 1.0}
    expected = []
    for row in rows:
        plain = [cell for cell in row if "," not in cell and "'" not in cell]
        values = [number_of(cell.strip(), ".") for cell in plain]
        expected.append(defaults | dict(zip(names, values, strict=True)))
    found = [{name: getattr(link, name) for name in ROW_COLUMNS[:-1]} | {"weight": weight}
             for link, weight in zip(read.links, read.weights, strict=True)]  # fmt: skip
    bad = set(names) - set(ROW_COLUMNS) or len(set(names)) < len(names)
    return f"other rows: {mutant.content!r}" if found != expected or bad else ""


# speed tests


def _speed_tests(draw: random.Random) -> Mutant:
    decimal = draw.choice(".,")
    delimiter = draw.choice(",;\t" if decimal == "." else ";\t;,")
    group = draw.choice(("", "", "," if decimal == "." else ".", " ", "\u202f", "'"))
    places = draw.choice((0, 1, 2, 3, 3, None))
    quote = draw.random() < 0.3 or delimiter == ","
    header = _header(draw)
    scale = draw.choice((1.0, 50.0, 5e4, 1e6))
    rows = []
    for _ in range(draw.randint(18, 200)):
        down = scale * math.exp(draw.gauss(1, 1.5))
        cells = [_spelled(v, decimal, group, places) for v in (down, down / 7)]
        cells.append(_spelled(draw.uniform(1, 900), decimal, group, draw.choice((0, places))))
        rows.append([*cells, draw.choice(("3G", "4G"))])
    marks = '"' if quote else ""
    lines = [delimiter.join(f"{marks}{c}{marks}" for c in row) for row in [header, *rows]]
    options = {
        "where": draw.choice(((), (), ("rat=4G",))),
        "skip_bad": draw.random() < 0.3,
        "decimal": draw.choice((None, None, None, decimal)),
        "rate_unit": draw.choice((None, None, None, "Mbit/s")),
        "latency_unit": draw.choice((None, None, None, "ms")),
    }
    shown = any(sign in cell for row in rows for cell in row for sign in ".,")
    form = {"decimal": decimal if shown else None, "delimiter": delimiter, "options": options}
    name = draw.choice(("s.csv", "s.csv", "s.csv", "s.csv.gz"))
    return Mutant("speed tests", name, "\n".join([*lines, ""]).encode(), form)


def _header(draw: random.Random) -> list[str]:
    rates = [*RATE_UNITS] * 2 + [*UNCLEAR_RATES] if draw.random() < 0.7 else ["Mbps"]
    times = [*TIME_UNITS] * 2 + [*UNCLEAR_TIMES] if draw.random() < 0.7 else ["ms"]
    form = draw.choice(("{0} ({1})", "{0}_{1}", "{0} [{1}]", "{0} {1}", "{1} {0}", "avg {0} {1}"))
    down, up, latency = draw.choice((
        ("download", "upload", "rtt"), ("dl", "ul", "ping"), ("Down", "Up", "Latency"),
        ("avg_d", "avg_u", "avg_lat"), ("download", "upload", "lat"),
        ("download", "upload", "server's ping"), ("downlink", "uplink", "latitude"),
    ))  # fmt: skip
    unit = draw.choice(rates)
    names = [form.format(down, unit), form.format(up, draw.choice((unit, draw.choice(rates))))]
    return [*names, form.format(latency, draw.choice(times)), "rat"]


def _spelled(value: float, decimal: str, group: str, places: int | None) -> str:
    text = f"{value:,.{places}f}" if places is not None else f"{round(value, 3):,}"
    return text.replace(",", "\x00").replace(".", decimal).replace("\x00", group)


def _read_speed_tests(mutant: Mutant, path: Path) -> SpeedTests:
    return read_speed_tests(path, ReadOptions(**mutant.form["options"]))


def _speed_problem(mutant: Mutant, tests: SpeedTests) -> str:
    content, form, options = mutant.content, mutant.form, mutant.form["options"]
    if mutant.name.endswith(".gz"):
        content = gzip.decompress(content)
    text = text_of(content)
    delimiter = form["delimiter"]
    if text.startswith("sep=") and text[5:6] == "\n":
        delimiter, text = text[4], text[6:]
    header, *rows = csv_rows(text, delimiter)
    names = [name.strip() for name in header]
    while not names[-1]:
        names.pop()
    decimal = form["decimal"] or tests.decimal  # a file of whole numbers shows no sign
    sizes = [_size(mutant, tests, role) for role in ("down", "up", "latency")]
    places = [names.index(tests.columns[role]) for role in ("down", "up", "latency")]
    kept, left, bad, filtered = [], 0, 0, 0
    for row in rows:
        if len(row) < len(names) or any(cell.strip() for cell in row[len(names) :]):
            bad += "".join(row).count("\n") + 1
        elif options["where"] and row[names.index("rat")].strip() != "4G":
            filtered += 1
        else:
            values = [number_of(row[p].strip(), decimal) * s
                      for p, s in zip(places, sizes, strict=True)]  # fmt: skip
            low = all(v <= 0 or math.isnan(v) or v >= m for v, m in zip(values, (1e-3, 1e-3, 1e-9),
                      strict=True))  # fmt: skip
            high = all(not v > m for v, m in zip(values, (1e15, 1e15, 1e6), strict=True))
            if not (low and high):
                bad += 1
            elif all(v > 0 for v in values):
                kept.append(values)
            else:
                left += 1
    found = np.array([tests.down_bits_per_s, tests.up_bits_per_s, tests.rtt_s]).T
    said = (tests.left_out, tests.unreadable, tests.filtered)
    if said != (left, bad, filtered):
        return f"left out, unreadable, filtered {said}, not {(left, bad, filtered)}: {form}"
    if found.shape != (len(kept), 3) or not np.allclose(found, kept, 1e-12, 0):
        return f"other numbers: {tests.columns}, {tests.units}, {tests.decimal}, {form}"
    if bad > 0.01 * (bad + left + len(kept)) and not options["skip_bad"]:
        return "too many rows that cannot be read"
    return ""


def _size(mutant: Mutant, tests: SpeedTests, role: str) -> float:
    """Return the size of a role's unit: the stated one, or the only one that its name shows."""
    options, name = mutant.form["options"], tests.columns[role]
    words = {"down": ("d", "D"), "up": ("u", "U"), "latency": ("lat", "rtt", "ping", "Lat")}
    if not any(word in name for word in words[role]) or "latitude" in name.lower():
        raise ValueError(f"{name!r} is no column of {role}")
    stated = options["latency_unit" if role == "latency" else "rate_unit"]
    if stated:
        return {"Mbit/s": 1e6, "ms": 1e-3}[stated]
    unit_text = name.replace("server's", "")
    (size,) = sizes_in(unit_text, TIME_UNITS if role == "latency" else RATE_UNITS)
    return size


READERS: dict[
    str,
    tuple[
        Callable[[random.Random], Mutant],
        Callable[[Mutant, Path], Any],
        Callable[[Mutant, Any], str],
    ],
] = {
    "csv trace": (_csv_trace, _read_trace, _trace_problem),
    "mahimahi": (_mahimahi, _read_trace, _trace_problem),
    "speed tests": (_speed_tests, _read_speed_tests, _speed_problem),
    "rows": (_rows, _read_rows, _rows_problem),
}
