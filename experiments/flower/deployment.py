"""A SuperLink and its nodes as processes, and one run of an exported app on them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from places import GRPC_PORT, SUPERLINK_PORT, Place, Places

_START_S = 120.0  # most seconds until nodes are connected
_POLL_S = 0.5
_SETTINGS = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "FLOSS_SIM_ANY_FRAMEWORK": "1",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "PYTHONUNBUFFERED": "1",
}


@dataclass(frozen=True)
class Measured:
    """What a run took.

    Attributes:
        record: The run folder.
        sockets: Rows of the relay: node, path, requests, up_bytes, down_bytes.
        flower: Flower's own counters of the run: bytes sent and received by the SuperLink.
        seconds: From ``flwr run`` to its end.
    """

    record: Path
    sockets: list[dict[str, Any]]
    flower: dict[str, int]
    seconds: float


def refuse(text: str) -> NoReturn:
    """End with one line on stderr and exit code 2."""
    print(text, file=sys.stderr)
    raise SystemExit(2)


class Deployment:
    """A running SuperLink with its nodes; made by :func:`deployed`."""

    def __init__(
        self, places: Places, work: Path, environment: dict[str, str], interface: str
    ) -> None:
        self.places, self.work, self.interface = places, work, interface
        self._environment = environment
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, place: Place, name: str, words: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a process in a place; its output goes to a log of its name."""
        log = (self.work / f"{name}.log").open("wb")
        process = subprocess.Popen(  # noqa: S603
            [*place.inside, *words], stdout=log, stderr=subprocess.STDOUT,
            env=self._environment, start_new_session=True, cwd=self.work,
        )  # fmt: skip
        self._processes.append(process)
        return process

    def call(self, words: Sequence[str]) -> str:
        """Return what a command prints, run in the server's place."""
        done = subprocess.run(  # noqa: S603
            [*self.places.server.inside, *words], capture_output=True, text=True,
            env=self._environment, cwd=self.work,
        )  # fmt: skip
        if done.returncode:
            refuse(f"{' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout

    def stop(self) -> None:
        """End all processes that were started here, with what they started."""
        for process in reversed(self._processes):
            _end(process, signal.SIGTERM)
        deadline = time.monotonic() + 10
        for process in self._processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _end(process, signal.SIGKILL)
        for process in self._processes:
            _end(process, signal.SIGKILL)  # what a process has left in its session


def _end(process: subprocess.Popen[bytes], sign: signal.Signals) -> None:
    try:
        os.killpg(process.pid, sign)
    except ProcessLookupError:
        return


@contextmanager
def deployed(
    places: Places, flower: Path, work: Path, simulation: bool = False, interface: str = "http"
) -> Iterator[Deployment]:
    """Start a SuperLink, and end it and what was started beside it after the block.

    Args:
        places: Where they run.
        flower: The ``bin`` folder of Flower's environment.
        work: Folder for logs and Flower's own files.
        simulation: Whether the SuperLink runs apps in Flower's simulation engine, without nodes.
        interface: What nodes speak: ``"http"``, or ``"grpc"`` in versions before 1.40.
    """
    if not (flower / "flower-superlink").exists():
        refuse(f"no flower-superlink in {flower}; give the bin of Flower's environment")
    work.mkdir(parents=True, exist_ok=True)
    home = work / "flower-home"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    address = f"127.0.0.1:{SUPERLINK_PORT}"
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "measured"\n[superlink.measured]\naddress = "{address}"\n'
        "insecure = true\n",
        encoding="utf-8",
    )
    path = f"{flower}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **_SETTINGS, "PATH": path, "FLWR_HOME": str(home)}
    environment.pop("PYTHONPATH", None)
    running = Deployment(places, work, environment, interface)
    try:
        superlink = ["flower-superlink", "--insecure", "--port", str(SUPERLINK_PORT)]
        if interface == "grpc":
            superlink += ["--fleet-api-address", f"127.0.0.1:{GRPC_PORT}"]
        words = [*superlink, "--simulation"] if simulation else superlink
        running.start(places.server, "superlink", words)
        yield running
    finally:
        running.stop()


def run_app(
    running: Deployment,
    app: Path,
    name: str,
    python: str = sys.executable,
    node_configs: Sequence[str] = (),
) -> Measured:
    """Start fresh nodes and a relay, run an app, and return what it took.

    Args:
        running: The SuperLink.
        app: Folder of the app.
        name: Name of the run in the names of logs.
        python: Interpreter of the relay.
        node_configs: Configuration of each node; by default its number as ``partition-id``.
    """
    relayed = running.work / f"{name}-sockets.json"
    with _nodes(running, name, relayed, python, node_configs):
        status, seconds = _run(running, app)
    if status["status"] != "finished:completed":
        refuse(f"run of {app}: {status}; see {running.work}")
    sockets = json.loads(relayed.read_text(encoding="utf-8"))
    return Measured(app / "record", sockets, status, seconds)


def try_app(running: Deployment, app: Path, name: str, *options: str) -> tuple[str, str]:
    """Run an app as :func:`run_app` does; return Flower's status of it and what it says of it."""
    with _nodes(running, name, running.work / f"{name}-sockets.json", sys.executable, ()):
        status, _ = _run(running, app, *options)
    return str(status["status"]), str(status["status-details"])


def run_restarting(running: Deployment, app: Path, name: str) -> dict[str, Any]:
    """Run an app whose last node is ended in its second round, and started again at once.

    Returns:
        Flower's own figures of the run. The log of the new node has ``-again`` in its name.
    """
    place, number = running.places.nodes[-1], len(running.places.nodes) - 1
    log, relayed = running.work / f"{name}-{place.name}.log", running.work / f"{name}-sockets.json"
    with _nodes(running, name, relayed, sys.executable, ()) as nodes:
        started = json.loads(running.call(["flwr", "run", str(app), "--format", "json"]))
        while b"ROUND 2]" not in log.read_bytes():
            time.sleep(_POLL_S)
        _end(nodes[-1], signal.SIGTERM)
        nodes[-1].wait(20)
        words = _node_words(place, f"partition-id={number}")
        nodes.append(running.start(place, f"{name}-{place.name}-again", words))
        return _wait_for_end(running, str(started["run-id"]))


@contextmanager
def _nodes(
    running: Deployment, name: str, relayed: Path, python: str, node_configs: Sequence[str]
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start nodes and their relay, which writes what it counted after the block.

    Yields the processes of the nodes, all of which are ended after the block.
    """
    _wait_for_superlink(running)
    places = running.places
    words = [f"{place.name}={place.relay}" for place in places.nodes]
    relay = [python, str(Path(__file__).with_name("relay.py")), running.interface, str(relayed)]
    port = GRPC_PORT if running.interface == "grpc" else SUPERLINK_PORT
    counting = running.start(places.server, f"{name}-relay", [*relay, f"127.0.0.1:{port}", *words])
    configs = node_configs or [f"partition-id={number}" for number in range(len(places.nodes))]
    nodes = [
        running.start(place, f"{name}-{place.name}", _node_words(place, config))
        for place, config in zip(places.nodes, configs, strict=True)
    ]
    _wait_for_nodes(running, len(nodes), name)
    yield nodes
    for process in nodes:
        _end(process, signal.SIGTERM)
    for process in nodes:
        process.wait(20)
    counting.send_signal(signal.SIGTERM)
    counting.wait(10)


def simulate_app(running: Deployment, app: Path, nodes: int, *options: str) -> Measured:
    """Run an app in the simulation engine with a number of nodes."""
    _wait_for_superlink(running)
    federation = ("--federation-config", f"num-supernodes={nodes}")
    status, seconds = _run(running, app, *federation, *options)
    if status["status"] != "finished:completed":
        refuse(f"run of {app}: {status}; see {running.work}")
    return Measured(app / "record", [], status, seconds)


def _run(running: Deployment, app: Path, *options: str) -> tuple[dict[str, Any], float]:
    """Run an app; return Flower's own figures, and the seconds until its end."""
    began_s = time.monotonic()
    words = ["flwr", "run", str(app), "--format", "json", *options]
    started = json.loads(running.call(words))
    return _wait_for_end(running, str(started["run-id"])), time.monotonic() - began_s


def _wait_for_superlink(running: Deployment) -> None:
    end_s, log = time.monotonic() + _START_S, running.work / "superlink.log"
    while b"Uvicorn running" not in log.read_bytes():
        if time.monotonic() > end_s:
            refuse(f"the SuperLink did not start within {_START_S:g} s; see {log}")
        time.sleep(_POLL_S)


def _node_words(place: Place, config: str) -> list[str]:
    return [
        "flower-supernode", "--insecure", "--superlink", place.relay,
        "--port", str(place.runtime_port), "--node-config", config,
    ]  # fmt: skip


def _wait_for_nodes(running: Deployment, count: int, name: str) -> None:
    end_s = time.monotonic() + _START_S
    logs = [running.work / f"{name}-{place.name}.log" for place in running.places.nodes]
    while sum(b"SuperNode ID" in log.read_bytes() for log in logs) < count:
        if time.monotonic() > end_s:
            refuse(f"nodes did not connect within {_START_S:g} s; see {running.work}")
        time.sleep(_POLL_S)


def _wait_for_end(running: Deployment, run: str) -> dict[str, Any]:
    """Return Flower's own figures of a run once it has finished, as the SuperLink's log says."""
    log = running.work / "superlink.log"
    while not re.search(rb"Finished task \d+ of run " + run.encode(), log.read_bytes()):
        time.sleep(_POLL_S)
    told = json.loads(running.call(["flwr", "list", "--run-id", run, "--format", "json"]))
    (found,) = told["runs"]
    return dict(found)
