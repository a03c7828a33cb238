"""Fit the law of a framework to what was measured, and compare forecasts with measurements.

    python experiments/flower/fit.py measured.json --name flower-1.42 --law LAW.toml --out OUT.md

Constants of bytes are means over the first configuration on the first place; all other runs are
forecast with them. The start of a process is fitted to the lengths of the first place's rounds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measure import COHORT, config_of

from floss_sim import load_profile, open_learner, run

NODE_POLL_S, NODE_CHECK_S, SERVER_POLL_S = 3.0, 0.5, 3.0  # constants in Flower's source
ROUND_TRIPS = 2  # a list of objects, then the objects in pairs
_MESSAGE_PATHS = ("pull-messages", "pull-object", "confirm-message-received", "push-messages",
                  "push-object")  # fmt: skip
_DRAWS = 4000
Run = Mapping[str, Any]


@dataclass(frozen=True)
class Bytes:
    """Bytes of a run in one direction: payloads, at the socket for messages, in Flower's counter.

    Attributes:
        payload: Encoded bytes of the record.
        socket: Bytes at the sockets of all nodes for messages and polls.
        flower: Flower's own counter.
        messages: Messages in this direction, the first query of each node included.
        polls: Requests of nodes that asked in vain.
        session: Bytes of registration, app bundle and heartbeats.
    """

    payload: int
    socket: int
    flower: int
    messages: int
    polls: int
    session: int


def bytes_of(measured: Run, way: str) -> Bytes:
    """Return the bytes of a run in a direction, ``"down"`` or ``"up"``."""
    rows = measured["sockets"]
    inner = [row for row in rows if row["path"].rpartition("/")[2] in _MESSAGE_PATHS]
    nodes = len({row["node"] for row in rows})
    messages = len(measured["rounds"]) * COHORT + nodes
    pulls = sum(row["requests"] for row in rows if row["path"].endswith("pull-messages"))
    whole = sum(row[f"{way}_bytes"] for row in rows)
    of_messages = sum(row[f"{way}_bytes"] for row in inner)
    counter = "outbound-bytes" if way == "down" else "inbound-bytes"
    return Bytes(
        payload=sum(row[f"{way}_bytes"] for row in measured["rounds"]),
        socket=of_messages,
        flower=measured["flower"][counter],
        messages=messages,
        polls=pulls - messages,
        session=whole - of_messages,
    )


def poll_bytes(runs: Sequence[Run]) -> dict[str, float]:
    """Return the mean bytes of a poll in vain, each way."""
    rows = [row for one in runs for row in one["sockets"] if row["path"].endswith("pull-messages")]
    count = sum(row.get("empty", 0) for row in rows)
    return {way: sum(row.get(f"empty_{way}_bytes", 0) for row in rows) / count
            for way in ("down", "up")}  # fmt: skip


def overhead(measured: Run, way: str, poll: float) -> float:
    """Return the bytes at the socket beside the payload, for each message."""
    found = bytes_of(measured, way)
    return (found.socket - found.payload - found.polls * poll) / found.messages


def round_lengths(runs: Sequence[Run]) -> np.ndarray[Any, Any]:
    """Return the seconds of all rounds."""
    return np.array([r["closed_at_s"] - r["opened_at_s"] for one in runs for r in one["rounds"]])


def draw_lengths(start_s: float, sigma: float, server_s: float) -> np.ndarray[Any, Any]:
    """Return lengths of rounds that the law draws, without transfers and training."""
    draw = np.random.default_rng(0)
    shape = (_DRAWS, COHORT)
    start = start_s * np.exp(sigma * draw.standard_normal(shape))
    arrived = draw.random(shape) * NODE_POLL_S + start + draw.random(shape) * NODE_CHECK_S
    return np.ceil(arrived.max(axis=1) / SERVER_POLL_S) * SERVER_POLL_S + server_s


def fit_start(lengths: np.ndarray[Any, Any]) -> tuple[float, float, float]:
    """Return median and sigma of a process' start, and the server's time, by mean and deviation."""
    server_s = float(np.median(lengths % SERVER_POLL_S))
    best, least = (0.0, 0.0), np.inf
    for start_s in np.arange(0.5, lengths.max(), 0.25):
        for sigma in np.arange(0.02, 0.8, 0.04):
            drawn = draw_lengths(start_s, sigma, server_s)
            error = (drawn.mean() - lengths.mean()) ** 2 + (drawn.std() - lengths.std()) ** 2
            if error < least:
                best, least = (float(start_s), float(sigma)), error
    return *best, server_s


def expected_payloads(names: Sequence[str], rounds: int) -> dict[str, tuple[int, int]]:
    """Return the encoded bytes of each configuration as the sequential learner trains it."""
    found = {}
    for name in names:
        config = config_of(name)
        learner = open_learner(config, "cpu", 1, "sequential")
        record = run(config, load_profile("lte"), learner, rounds=rounds)
        down, up = (sum(record.rounds[f"{way}_bytes"].to_pylist()) for way in ("down", "up"))
        found[name] = down, up
    return found


def law_text(name: str, source: str, values: Mapping[str, float | str]) -> str:
    """Return the TOML of a law."""
    lines = [f'name = "{name}"', f'source = "{source}"', 'date = "2026"']
    for key, value in values.items():
        lines.append(f"{key} = {json.dumps(value)}")
    return "# Fitted by experiments/flower/fit.py; see its results.\n" + "\n".join(lines) + "\n"


def main() -> None:
    """Fit, write the law, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measured", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--law", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--remark", default="", help="further words on the machine")
    given = parser.parse_args()
    content = json.loads(given.measured.read_text(encoding="utf-8"))
    every, environment = content["runs"], content["environment"]
    runs = [one for one in every if one["sockets"]]
    first_place = [one for one in runs if one["place"] == runs[0]["place"]]
    polls = poll_bytes(runs)
    constants = {way: overhead(runs[0], way, polls[way]) for way in ("down", "up")}
    counters = {way: _counter(runs[0], way) for way in ("down", "up")}
    start_s, sigma, server_s = fit_start(round_lengths(first_place))
    machine = f"{environment['cores']} {given.remark} cores".replace("  ", " ")
    source = f"experiments/flower, flwr {environment['flwr']} on {runs[0]['place']}, {machine}"
    values = {
        "down_bytes": round(constants["down"]),
        "up_bytes": round(constants["up"]),
        "round_trips": ROUND_TRIPS,
        "node_poll": f"{NODE_POLL_S:g} s",
        "node_check": f"{1000 * NODE_CHECK_S:g} ms",
        "server_poll": f"{SERVER_POLL_S:g} s",
        "server_time": f"{1000 * server_s:.0f} ms",
        "start": f"{start_s:g} s",
        "start_sigma": round(sigma, 2),
        "poll_down_bytes": round(polls["down"]),
        "poll_up_bytes": round(polls["up"]),
    }
    given.law.write_text(law_text(given.name, source, values), encoding="utf-8")
    expected = expected_payloads(
        list(dict.fromkeys(one["configuration"] for one in every)), len(runs[0]["rounds"])
    )
    drawn = draw_lengths(start_s, sigma, server_s)
    given.out.write_text(
        _results(runs, environment, polls, constants, counters, drawn, values, expected)
        + _engine_table([one for one in every if not one["sockets"]], expected),
        encoding="utf-8",
    )


def _counter(measured: Run, way: str) -> float:
    found = bytes_of(measured, way)
    return (found.flower - found.payload) / found.messages


def _results(
    runs: Sequence[Run],
    environment: Mapping[str, Any],
    polls: Mapping[str, float],
    constants: Mapping[str, float],
    counters: Mapping[str, float],
    drawn: np.ndarray[Any, Any],
    values: Mapping[str, float | str],
    expected: Mapping[str, tuple[int, int]],
) -> str:
    """Return the tables in Markdown."""
    low, high = np.quantile(drawn, [0.05, 0.95])
    rows = [
        "| place | configuration | way | payload | forecast | socket | error | a message | "
        "Flower's counter | error | a message |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in runs:
        for number, way in enumerate(("down", "up")):
            found, payload = bytes_of(one, way), expected[one["configuration"]][number]
            at_socket = payload + found.messages * constants[way] + found.polls * polls[way]
            counted = payload + found.messages * counters[way]
            rows.append(
                f"| {one['place']} | {one['configuration']} | {way} | {found.payload:,} | "
                f"{payload:,} | {found.socket:,} | {_error(at_socket, found.socket)} | "
                f"{(at_socket - found.socket) / found.messages:+.0f} B | {found.flower:,} | "
                f"{_error(counted, found.flower)} | "
                f"{(counted - found.flower) / found.messages:+.0f} B |"
            )
    times = [
        "| place | configuration | rounds | mean | shortest | longest | within 5 to 95 % |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in runs:
        lengths = round_lengths([one])
        inside = np.mean((lengths >= low - 1) & (lengths <= high + 1))
        times.append(
            f"| {one['place']} | {one['configuration']} | {lengths.size} | "
            f"{lengths.mean():.1f} s | {lengths.min():.1f} s | {lengths.max():.1f} s | "
            f"{100 * inside:.0f} % |"
        )
    session = {way: np.mean([bytes_of(one, way).session for one in runs]) for way in ("down", "up")}
    law = [
        "| law | value |",
        "|---|---|",
        *(f"| {key} | {value} |" for key, value in values.items()),
    ]
    return "\n".join([
        f"# Flower {environment['flwr']}, measured",
        "",
        f"{environment['cores']} cores, Python {environment['python']}; {environment['clients']} "
        f"nodes, all in every cohort. Made by `measure.py` and `fit.py`.",
        "",
        *law,
        "",
        "## Bytes",
        "",
        "Payload and its forecast are encoded bytes; at the socket are the bytes of messages "
        "and polls. Constants are those of the first line of each way.",
        "",
        *rows,
        "",
        f"Beside messages a run had {session['down']:,.0f} B down and {session['up']:,.0f} B up: "
        "registration, the app's bundle, heartbeats.",
        "",
        "## Seconds",
        "",
        f"By the law a round takes {np.median(drawn):.1f} s ({low:.1f} s to {high:.1f} s).",
        "",
        *times,
        "",
    ])  # fmt: skip


def _engine_table(runs: Sequence[Run], expected: Mapping[str, tuple[int, int]]) -> str:
    """Return the table of runs in Flower's simulation engine, which sends nothing over a socket."""
    rows = ["## Simulation engine", "", "| configuration | payload down | forecast | payload up | "
            "forecast | a round |", "|---|---|---|---|---|---|"]  # fmt: skip
    for one in runs:
        down, up = (sum(r[f"{way}_bytes"] for r in one["rounds"]) for way in ("down", "up"))
        forecast = expected[one["configuration"]]
        rows.append(
            f"| {one['configuration']} | {down:,} | {forecast[0]:,} | {up:,} | {forecast[1]:,} | "
            f"{np.median(round_lengths([one])):.2f} s |"
        )
    return "\n" + "\n".join(rows) + "\n" if runs else ""


def _error(forecast: float, found: float) -> str:
    return f"{100 * (forecast / found - 1):+.2f} %"


if __name__ == "__main__":
    main()
