"""Client updates per second of one small task: ours, a plain torch loop, pfl, Flower's simulation.

Peers play in turns, each in a process of its own and in an environment of its own, which is made
under runs/peers the first time. Needs a package registry then; the plain loop runs in ours.

python experiments/training_speed/peers/compare.py [--repetitions 5] [--rounds 40]
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parents[2] / "runs" / "peers"
RATES = ("updates_per_s", "updates_per_processor_s")
# One thread each; nobody is sent statistics; Ray's workers do not yield to other programs.
SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "FLWR_TELEMETRY_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
}
COLUMNS = ("peer", "repetition", *RATES, "accuracy", "versions")


@dataclass(frozen=True)
class Peer:
    """A script that prints its rates, and the environment that it needs beside ours."""

    name: str
    script: str
    arguments: tuple[str, ...] = ()
    environment: str = ""


PEERS = (
    Peer("ours, one pass", "ours.py", ("--learner", "pass")),
    Peer("plain loop", "plain.py"),
    Peer("pfl", "pfl_peer.py", environment="pfl"),
    Peer("ours, whole", "ours.py", ("--learner", "whole")),
    Peer("Flower", "flower_peer.py", environment="flower"),
)


def python_of(peer: Peer) -> Path:
    """Return a peer's interpreter; make its environment if its requirements are not there."""
    if not peer.environment:
        return Path(sys.executable)
    folder = ENVIRONMENTS / peer.environment
    python, installed = folder / "bin" / "python", folder / "installed.txt"
    wanted = HERE / f"requirements-{peer.environment}.txt"
    if not (installed.exists() and installed.read_bytes() == wanted.read_bytes()):
        print(f"making {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        install = [python, "-m", "pip", "install", "--quiet", "--requirement", wanted]
        subprocess.run(install, check=True)  # noqa: S603
        installed.write_bytes(wanted.read_bytes())
    return python


def measure(peer: Peer, python: Path, rounds: int) -> dict[str, Any]:
    """Return what a peer's script says of so many rounds.

    Raises:
        RuntimeError: It failed; the message is the end of what it said.
    """
    command = [python, HERE / peer.script, "--rounds", str(rounds), *peer.arguments]
    done = subprocess.run(  # noqa: S603
        command, env={**os.environ, **SETTINGS}, capture_output=True, text=True
    )
    last = (done.stdout.strip().splitlines() or [""])[-1]
    if done.returncode or not last.startswith("{"):
        raise RuntimeError(f"{peer.name}: {done.stderr[-1000:]}")
    return json.loads(last)


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write the table."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for row in rows:
            rates = {c: f"{row[c]:.1f}" if row[c] else "" for c in RATES}
            versions = " ".join(f"{k}=={v}" for k, v in row["versions"].items())
            writer.writerow({**row, **rates, "versions": versions})


def report(rows: Sequence[dict[str, Any]]) -> None:
    """Print medians, and ours over theirs in the same repetition."""
    of = {peer.name: [row for row in rows if row["peer"] == peer.name] for peer in PEERS}
    for name, theirs in of.items():
        said = [f"{name:15}", f"accuracy {statistics.median(r['accuracy'] for r in theirs):.3f}"]
        for rate in RATES:
            if theirs[0][rate] is None:
                continue
            median = statistics.median(row[rate] for row in theirs)
            over = [
                statistics.median(a[rate] / b[rate] for a, b in zip(of[ours], theirs, strict=True))
                for ours in ("ours, one pass", "ours, whole")
            ]
            said.append(f"{rate} {median:.0f} (ours {over[0]:.2f} x, whole {over[1]:.2f} x)")
        print("; ".join(said))


def main() -> None:
    """Play in turns, write peers.csv and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--out", type=Path, default=HERE / "peers.csv")
    chosen = parser.parse_args()
    pythons = {peer: python_of(peer) for peer in PEERS}
    rows = [
        {"peer": peer.name, "repetition": repetition, **measure(peer, python, chosen.rounds)}
        for repetition in range(1, chosen.repetitions + 1)
        for peer, python in pythons.items()
    ]
    write(chosen.out, rows)
    report(rows)


if __name__ == "__main__":
    main()
