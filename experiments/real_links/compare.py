"""Compares measured.csv with the simulator: results.md, each case and the errors in short.

Example:
    python experiments/real_links/compare.py
"""

from __future__ import annotations

import csv
import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cases import BITS_PER_BYTE, PROBE_BYTES, Bucket, Case

from floss_sim.network.flow.max_min_fair import FairShare
from floss_sim.network.transport import Transport

HERE = Path(__file__).parent
TRANSPORT = Transport(headers="ipv4", link_header=14)  # what the shaper counts: Ethernet too
# Round trips of a new connection that end in a kernel; then the SYN-ACK wakes a client that will
# send, or the client's acknowledgement of it wakes a server that will.
_SET_UP_ROUND_TRIPS = {"up": 0.5, "down": 1.0}
_GOAL = 0.08  # for the worst line
Row = dict[str, Any]


@dataclass(frozen=True)
class Idle:
    """What an idle link takes, measured: it has no rate in it.

    Attributes:
        latency_s: What one byte took from ``send`` until the other process had it, the median.
        round_trip_s: The least that TCP saw; no process has to wake for it.
    """

    latency_s: float
    round_trip_s: float


@dataclass(frozen=True)
class Comparison:
    """One line of the table: ``what`` took, and should have taken, how many seconds."""

    case: Case
    what: str
    measured_s: tuple[float, ...]
    predicted_s: float

    @property
    def error(self) -> float:
        """Return (predicted - measured) / measured, by the median."""
        median_s = statistics.median(self.measured_s)
        return (self.predicted_s - median_s) / median_s


def main() -> None:
    """Print the table and write it to results.md."""
    comparisons = compared(read(HERE / "measured.csv"))
    text = f"{table(comparisons)}\n{summary(comparisons)}"
    (HERE / "results.md").write_text(text, encoding="utf-8")
    print(text)


def predicted_s(case: Case, idle: Idle, starts_s: Sequence[float]) -> list[float]:
    """Return the seconds that each client's transfer of a case should take.

    Args:
        case: What was transferred over what.
        idle: What an idle link takes.
        starts_s: When each client really started: a crowd's processes wake one after the other.
    """
    backlogs = [max(0, wire_bytes(one) - credit_bytes(case)) for one in case.payloads_bytes]
    server = case.server.bits_per_s if case.server else math.inf
    waits_s = idle.latency_s
    if case.connection == "new":
        waits_s += idle.latency_s + _SET_UP_ROUND_TRIPS[case.direction] * idle.round_trip_s
    ends_s = filled_s(backlogs, case.client.bits_per_s, server, starts_s)
    return [waits_s + end_s - begun_s for end_s, begun_s in zip(ends_s, starts_s, strict=True)]


def wire_bytes(payload_bytes: int) -> int:
    """Return a payload's bytes with the headers of its segments, as the simulator counts them."""
    return TRANSPORT.wire_bytes(payload_bytes)


def credit_bytes(case: Case) -> float:
    """Return what passes at once: a full bucket, or a part of the server's if that is less."""
    if case.server is None:
        return case.client.burst_bytes
    return min(case.client.burst_bytes, case.server.burst_bytes / len(case.payloads_bytes))


def filled_s(
    backlogs_bytes: Sequence[float], own: float, shared: float, starts_s: Sequence[float]
) -> list[float]:
    """Return when the simulator ends each transfer.

    Args:
        backlogs_bytes: Bytes of each transfer.
        own: Each transfer's own rate in bits per second.
        shared: Rate of what they share in bits per second; may be infinite.
        starts_s: When each starts.
    """
    share, done_s = FairShare(shared), [0.0] * len(backlogs_bytes)
    waiting = sorted(range(len(starts_s)), key=starts_s.__getitem__, reverse=True)
    while (
        at_s := min(share.next_end_s(), starts_s[waiting[-1]] if waiting else math.inf)
    ) < math.inf:
        for flow in share.pop_ended(at_s):
            done_s[flow.tag] = at_s
        while waiting and starts_s[waiting[-1]] <= at_s:
            client = waiting.pop()
            share.add(at_s, BITS_PER_BYTE * backlogs_bytes[client], own, tag=client)
        share.settle(at_s)
    return done_s


def read(path: Path) -> list[Row]:
    """Return the rows of measured.csv, numbers as numbers (a server without cap: None)."""
    words = {"case", "direction", "connection", "server_queue"}
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {key: value if key in words else number(value) for key, value in row.items()}
            for row in csv.DictReader(file)
        ]


def number(text: str) -> int | float | None:
    """Return an integer, a float, or None for nothing."""
    if not text:
        return None
    return int(text) if text.isdecimal() else float(text)


def compared(rows: list[Row]) -> list[Comparison]:
    """Return the lines of the table: each payload of a case, and a crowd's last byte."""
    probes = [row for row in rows if row["payload_bytes"] == PROBE_BYTES]
    idle = Idle(
        statistics.median(row["seconds"] for row in probes),
        min(row["least_round_trip_s"] for row in probes),
    )
    timed = [row for row in rows if row["payload_bytes"] != PROBE_BYTES]
    cases = {case_of(group): group for group in grouped(timed, "case").values()}
    return [line for case in sorted(cases, key=sort_key) for line in lines(case, cases[case], idle)]


def sort_key(case: Case) -> tuple[Any, ...]:
    """Return where a case stands in the table."""
    mixed = len(set(case.payloads_bytes)) > 1
    kind = (case.server is not None, case.queue == "fair", mixed, case.connection)
    return case.direction, len(case.payloads_bytes), *kind, case.payloads_bytes


def lines(case: Case, rows: list[Row], idle: Idle) -> list[Comparison]:
    """Return the lines of one case."""
    crowds = list(grouped(rows, "repetition").values())
    for crowd in crowds:
        crowd.sort(key=lambda row: row["client"])
        starts_s = [row["started_s"] for row in crowd]
        for row, seconds in zip(crowd, predicted_s(case, idle, starts_s), strict=True):
            row["predicted_s"] = seconds
    by_payload = [
        Comparison(
            case,
            f"{payload:,} bytes",
            tuple(row["seconds"] for row in flows),
            statistics.median(row["predicted_s"] for row in flows),
        )
        for payload, flows in grouped(rows, "payload_bytes").items()
    ]
    if len(case.payloads_bytes) == 1:
        return by_payload
    makespans = tuple(makespan_s(crowd, "seconds") for crowd in crowds)
    predicted = statistics.median(makespan_s(crowd, "predicted_s") for crowd in crowds)
    return [*by_payload, Comparison(case, "last of all", makespans, predicted)]


def makespan_s(crowd: list[Row], lasted: str) -> float:
    """Return the seconds from the first start to the last byte, measured or predicted."""
    return max(row["started_s"] + row[lasted] for row in crowd) - min(
        row["started_s"] for row in crowd
    )


def case_of(rows: list[Row]) -> Case:
    """Return the case that rows of one case belong to."""
    first = rows[0]
    once = [row for row in rows if row["repetition"] == first["repetition"]]
    server = first["server_bits_per_s"]
    return Case(
        first["direction"],
        tuple(row["payload_bytes"] for row in sorted(once, key=lambda row: row["client"])),
        first["connection"],
        Bucket(first["client_bits_per_s"], first["client_burst_bytes"]),
        Bucket(server, first["server_burst_bytes"]) if server else None,
        first["server_queue"] or "fifo",
    )


def grouped(rows: list[Row], column: str) -> dict[Any, list[Row]]:
    """Return the rows by the value of a column, in order of appearance."""
    groups = defaultdict(list)
    for row in rows:
        groups[row[column]].append(row)
    return groups


def table(comparisons: list[Comparison]) -> str:
    """Return the comparisons as a Markdown table in milliseconds."""
    head = "| case | transfer | measured | least | most | predicted | error |\n"
    rule = "|---|---|---|---|---|---|---|\n"
    return head + rule + "".join(map(table_row, comparisons))


def table_row(one: Comparison) -> str:
    """Return one line of the table."""
    seconds = (statistics.median(one.measured_s), min(one.measured_s), max(one.measured_s))
    cells = [f"{1e3 * value:.2f}" for value in (*seconds, one.predicted_s)]
    return f"| {one.case.name} | {one.what} | {' | '.join(cells)} | {one.error:+.1%} |\n"


def summary(comparisons: list[Comparison]) -> str:
    """Return median and worst errors, without their signs, as a Markdown table."""
    groups: dict[str, list[Comparison]] = defaultdict(list)
    for one in comparisons:
        cap = f"{one.case.queue} server cap" if one.case.server else "no server cap"
        groups[f"{one.case.direction}, {cap}"].append(one)
    groups["all"] = comparisons
    head = f"| cases | lines | median error | beyond {_GOAL:.0%} | worst error | where |\n"
    rows = (summary_row(name, group) for name, group in groups.items())
    return head + "|---|---|---|---|---|---|\n" + "".join(rows)


def summary_row(name: str, group: list[Comparison]) -> str:
    """Return one line of the summary."""
    errors = [abs(one.error) for one in group]
    worst = group[errors.index(max(errors))]
    where = f"{worst.case.name}, {worst.what}"
    return (
        f"| {name} | {len(group)} | {statistics.median(errors):.1%} "
        f"| {sum(error > _GOAL for error in errors)} | {max(errors):.1%} | {where} |\n"
    )


if __name__ == "__main__":
    main()
