"""Compares real uploads behind one FIFO with max-min fair sharing and three laws of a FIFO.

Example:
    python experiments/real_links/compare_fifo.py    # fifo_results.md
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cases import PROBE_BYTES, Case
from compare import Idle, case_of, grouped, makespan_s, predicted_s, read, sort_key
from fifo_laws import dropping_s, fifo_s, windowed_s

HERE = Path(__file__).parent
LAWS = ("max-min", "FIFO", "windows", "windows, drops")  # the first is the simulator's
Row = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        case: The transfers.
        what: The payload, or the last byte of all.
        measured_s: Measured seconds, one for each repetition and client.
        predicted_s: Predicted seconds of the same transfers, by law.
    """

    case: Case
    what: str
    measured_s: tuple[float, ...]
    predicted_s: dict[str, tuple[float, ...]]

    def error(self, law: str) -> float:
        """Return (predicted - measured) / measured of the medians."""
        return statistics.median(self.predicted_s[law]) / statistics.median(self.measured_s) - 1

    def change(self, again: Line) -> float:
        """Return (measured again - measured) / measured of the medians."""
        return statistics.median(again.measured_s) / statistics.median(self.measured_s) - 1

    def single_errors(self, law: str) -> list[float]:
        """Return (predicted - measured) / measured of every transfer."""
        pairs = zip(self.predicted_s[law], self.measured_s, strict=True)
        return [predicted / measured - 1 for predicted, measured in pairs]


def main() -> None:
    """Print the tables and write them to fifo_results.md."""
    found, again = (lines(read(HERE / f"fifo_measured{which}.csv")) for which in ("", "_again"))
    text = f"{table(found, again)}\n{summary(found, again)}"
    (HERE / "fifo_results.md").write_text(text, encoding="utf-8")
    print(text)


def lines(rows: list[Row]) -> list[Line]:
    """Return the lines of all cases: each payload of a case, and a crowd's last byte."""
    probes = [row for row in rows if row["payload_bytes"] == PROBE_BYTES]
    latency_s = statistics.median(row["seconds"] for row in probes)
    idle = Idle(latency_s, min(row["least_round_trip_s"] for row in probes))
    timed = [row for row in rows if row["payload_bytes"] != PROBE_BYTES]
    laws: dict[str, Callable[[Case, Sequence[float]], list[float]]] = {
        LAWS[0]: lambda case, starts_s: predicted_s(case, idle, starts_s),
        LAWS[1]: fifo_s,
        LAWS[2]: windowed_s,
        LAWS[3]: dropping_s,
    }
    cases = {case_of(group): group for group in grouped(timed, "case").values()}
    for case, group in cases.items():
        for crowd in grouped(group, "repetition").values():
            crowd.sort(key=lambda row: row["client"])
            starts_s = [row["started_s"] for row in crowd]
            for law, seconds_of in laws.items():
                for row, seconds in zip(crowd, seconds_of(case, starts_s), strict=True):
                    row[law] = seconds
    return [line for case in sorted(cases, key=sort_key) for line in _lines(case, cases[case])]


def _lines(case: Case, rows: list[Row]) -> Iterator[Line]:
    """Yield the lines of one case; its rows have the predictions of the laws."""
    for payload, group in sorted(grouped(rows, "payload_bytes").items()):
        seconds = {law: tuple(row[law] for row in group) for law in LAWS}
        yield Line(case, f"{payload:,} bytes", tuple(row["seconds"] for row in group), seconds)
    if len(case.payloads_bytes) > 1:
        crowds = list(grouped(rows, "repetition").values())
        spans = {law: tuple(makespan_s(crowd, law) for crowd in crowds) for law in LAWS}
        measured = tuple(makespan_s(crowd, "seconds") for crowd in crowds)
        yield Line(case, "last of all", measured, spans)


def table(found: Sequence[Line], again: Sequence[Line]) -> str:
    """Return the lines as a Markdown table: milliseconds, and the errors of the laws.

    Args:
        found: The lines of a measurement.
        again: The lines of a second measurement of the same cases.
    """
    head = f"| case | transfer | median (ms) | least | most | again | {' | '.join(LAWS)} |\n"
    rows = "".join(_table_row(*pair) for pair in zip(found, again, strict=True))
    return head + "|---" * (6 + len(LAWS)) + "|\n" + rows


def _table_row(line: Line, again: Line) -> str:
    seconds = (statistics.median(line.measured_s), min(line.measured_s), max(line.measured_s))
    errors = (line.change(again), *(line.error(law) for law in LAWS))
    cells = [*(f"{1e3 * s:.1f}" for s in seconds), *(f"{error:+.1%}" for error in errors)]
    return f"| {line.case.name} | {line.what} | {' | '.join(cells)} |\n"


def summary(found: Sequence[Line], again: Sequence[Line]) -> str:
    """Return the lowest and highest errors of each law in Markdown.

    Errors are those of medians, in both measurements, and those of single transfers.
    """
    rows = ""
    for name in ("one client", "equal uploads", "unequal uploads", "last of a crowd"):
        one, other = ([line for line in side if _group(line) == name] for side in (found, again))
        if one:
            change = _range([line.change(two) for line, two in zip(one, other, strict=True)])
            of_lines = [_range([line.error(law) for line in (*one, *other)]) for law in LAWS]
            singles = [
                _range([error for line in (*one, *other) for error in line.single_errors(law)])
                for law in LAWS
            ]
            rows += f"| {name}, median | {len(one)} | {change} | {' | '.join(of_lines)} |\n"
            rows += f"| {name}, single transfers | {len(one)} | | {' | '.join(singles)} |\n"
    head = f"| errors of | lines | again | {' | '.join(LAWS)} |\n"
    return head + "|---" * (3 + len(LAWS)) + "|\n" + rows


def _group(line: Line) -> str:
    """Return the group of a line in the summary."""
    sizes = line.case.payloads_bytes
    if len(sizes) == 1:
        return "one client"
    if line.what == "last of all":
        return "last of a crowd"
    return "equal uploads" if len(set(sizes)) == 1 else "unequal uploads"


def _range(errors: Sequence[float]) -> str:
    return f"{min(errors):+.1%} to {max(errors):+.1%}"


if __name__ == "__main__":
    main()
