"""Measure Flower: runs of an exported app on a real SuperLink with real nodes, and in its engine.

Each configuration runs ten rounds on each place. Written are a row for each round, one for each
HTTP path, and Flower's own counters.

    python experiments/flower/measure.py --flower VENV/bin --out experiments/flower/measured.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deployment import Measured, deployed, run_app, simulate_app
from places import can_shape, loopback, namespaces

from floss_sim import RunConfig, RunFolder, floss, load_task, method_from_name
from floss_sim.deployment import export_app
from floss_sim.methods import Method

CLIENTS = COHORT = 2
RANK, ROUNDS = 16, 10
CONFIGURATIONS: Mapping[str, Method] = {
    "floss": floss(1 / 4, 1 / 16),
    "dense": method_from_name("dense"),
    "int8": method_from_name("floss", up_density=1 / 4, down_values="int8", up_values="int8"),
    "error feedback": method_from_name("ffa", up_density=1 / 16, error_feedback=True),
}
ENGINE = "simulation engine"
PLACES = {"loopback": loopback, "20/5 Mbit/s": namespaces, ENGINE: loopback}


def config_of(name: str) -> RunConfig:
    """Return the run of a configuration: small, since seconds of training are not the subject."""
    changes = {"partition.clients": CLIENTS, "server.cohort": COHORT, "data.limit": 200,
               "partition.law": "iid"}  # fmt: skip
    return RunConfig.of(load_task("digits", changes=changes), CONFIGURATIONS[name], rank=RANK)


def main() -> None:
    """Measure, and write what was measured after each run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flower", type=Path, required=True, help="bin of Flower's environment")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("flower-work"))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--places", default=",".join(PLACES))
    parser.add_argument("--configurations", default=",".join(CONFIGURATIONS))
    parser.add_argument("--interface", choices=("http", "grpc"), default="http",
                        help="what nodes speak; gRPC before version 1.40")  # fmt: skip
    given = parser.parse_args()
    work = given.work.absolute()
    shutil.rmtree(work, ignore_errors=True)
    runs: list[dict[str, Any]] = []
    for place in given.places.split(","):
        if PLACES[place] is namespaces and not can_shape():
            print(f"{place}: not here, since namespaces need root, ip and tc")
            continue
        where = work / place.split("/")[0]
        simulated = place == ENGINE
        with (
            PLACES[place](CLIENTS) as places,
            deployed(places, given.flower, where, simulated, given.interface) as running,
        ):
            for name in given.configurations.split(","):
                app = _app(name, where, given.rounds)
                measured = (
                    simulate_app(running, app, CLIENTS)
                    if simulated
                    else run_app(running, app, name, str(given.flower / "python"))
                )
                runs.append({"place": place, **_row(name, measured)})
                _write(given.out, given.flower, runs)
                print(f"{place}, {name}: {runs[-1]['seconds']:.0f} s", flush=True)


def _app(name: str, where: Path, rounds: int) -> Path:
    return export_app(
        config_of(name), where / f"app-{name.replace(' ', '-')}", task="digits", rounds=rounds
    )


def _row(name: str, measured: Measured) -> dict[str, Any]:
    record = RunFolder.read(measured.record).record()
    rounds = record.rounds.select(["opened_at_s", "closed_at_s", "down_bytes", "up_bytes"])
    return {
        "configuration": name,
        "seconds": measured.seconds,
        "rounds": rounds.to_pylist(),
        "messages": record.transfers.num_rows // 2,
        "sockets": measured.sockets,
        "flower": measured.flower["network-traffic"],
        "clientapp_s": measured.flower["compute-time"]["clientapp-seconds"],
    }


def _write(out: Path, flower: Path, runs: list[dict[str, Any]]) -> None:
    found = subprocess.run(  # noqa: S603
        [flower / "python", "-c", "import flwr; print(flwr.__version__)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    environment = {
        "flwr": found.stdout.strip(), "python": platform.python_version(),
        "cores": os.cpu_count(), "clients": CLIENTS, "cohort": COHORT,
    }  # fmt: skip
    out.write_text(json.dumps({"environment": environment, "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
