"""Clusters of two workers on this machine, started for the block and ended with it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from dask_processes import dask_processes, free_port

_Start = Callable[[str, Sequence[str]], None]  # of a process, with the name of its log
MARK = "FLOSS_SIM_CHECK"  # environment variable that all processes of a cluster inherit
WORKERS = 2
_START_S = 60.0


def mark_processes(mark: str) -> None:
    """Mark the processes that this one starts from now on, whatever they call themselves.

    Dask renames its processes by setproctitle if that is installed (Parsl needs it), which writes
    over the environment that ``/proc`` shows, unless ``SPT_NOENV`` is set.
    """
    os.environ.update({MARK: mark, "SPT_NOENV": "1"})


class MissingError(Exception):
    """What a cluster needs is not installed; the text says what."""


@dataclass(frozen=True)
class Cluster:
    """A cluster, as a coordinator sees it.

    Attributes:
        version: Version of the engine's library, and of the queue's own.
        executor: The text that names it.
        workers: Number of workers that must be said; None where the engine tells.
        environment: Further environment variables of the coordinator.
        has_processes: Whether its workers are processes of their own, which can be killed.
    """

    version: str
    executor: str
    workers: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    has_processes: bool = True


@contextmanager
def dask_cluster(folder: Path) -> Iterator[Cluster]:
    """A Dask scheduler and two workers."""
    with dask_processes(folder, WORKERS) as address:
        yield Cluster(version("distributed"), f"dask:{address}")


@contextmanager
def ray_cluster(folder: Path) -> Iterator[Cluster]:
    """A Ray cluster of two nodes, of one processor each."""
    address = f"127.0.0.1:{free_port()}"
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
    common = ["--num-cpus", "1", "--disable-usage-stats", "--object-store-memory", "100000000"]
    head = ["--head", "--port", address.rpartition(":")[2], "--include-dashboard", "false"]
    environment = {"RAY_TMPDIR": str(folder)}
    with _processes(folder, environment) as start:
        start("head", [*ray, *head, *common])
        _wait_for_port(address)
        start("node", [*ray, "--address", address, *common])
        _wait_for_output(
            [sys.executable, "-m", "ray.scripts.scripts", "status", "--address", address], "2.0 CPU"
        )
        yield Cluster(version("ray"), f"ray:{address}", environment=environment)


@contextmanager
def parsl_processes(folder: Path) -> Iterator[Cluster]:
    """Parsl's high-throughput executor, whose processes start with the search."""
    yield _parsl(folder, "processes")


@contextmanager
def parsl_threads(folder: Path) -> Iterator[Cluster]:
    """Parsl's threads, in the process of the coordinator."""
    yield _parsl(folder, "threads")


def _parsl(folder: Path, executor: str) -> Cluster:
    file = folder / "parsl.toml"
    file.write_text(f'executor = "{executor}"\nworkers = {WORKERS}\n', encoding="utf-8")
    return Cluster(version("parsl"), f"parsl:{file}", has_processes=executor == "processes")


@contextmanager
def submitit_local(folder: Path) -> Iterator[Cluster]:
    """Processes that submitit starts on this machine."""
    yield Cluster(version("submitit"), f"slurm:local=true,folder={folder}", WORKERS)


@contextmanager
def slurm_cluster(folder: Path) -> Iterator[Cluster]:
    """Slurm with one node: munged, slurmctld and slurmd of the system's packages."""
    missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if not _found(name)]
    if missing:
        raise MissingError(f"no {', '.join(missing)} (Debian: slurmctld slurmd slurm-client munge)")
    if os.geteuid():
        raise MissingError("slurmd needs root")
    host, socket_ = socket.gethostname().partition(".")[0], folder / "munge.socket"
    key, conf = folder / "munge.key", folder / "slurm.conf"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    folder.chmod(0o755)
    conf.write_text(
        _SLURM.format(
            host=host, folder=folder, socket=socket_, control=free_port(), node=free_port(),
            cores=WORKERS,
        ),
        encoding="utf-8",
    )  # fmt: skip
    environment = {"SLURM_CONF": str(conf)}
    munge = [f"--{name}-file={folder / f'munge.{name}'}" for name in ("key", "pid", "log", "seed")]
    with _processes(folder, environment) as start:
        start(
            "munged", [_found("munged"), "--foreground", "--force", f"--socket={socket_}", *munge]
        )
        start("slurmctld", [_found("slurmctld"), "-D", "-c", "-f", str(conf)])
        start("slurmd", [_found("slurmd"), "-D", "-f", str(conf)])
        _wait_for_output(["sinfo", "--noheader", "--format=%T"], "idle", environment)
        told = subprocess.run(
            ["sinfo", "--version"],  # noqa: S607
            capture_output=True, text=True, env={**os.environ, **environment},
        )  # fmt: skip
        yield Cluster(
            f"{told.stdout.strip().replace('slurm-wlm ', '')}, submitit {version('submitit')}",
            f"slurm:partition=check,folder={folder / 'jobs'}", WORKERS, environment,
        )  # fmt: skip


_SLURM = """\
ClusterName=check
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
SlurmdPort={node}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={socket}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=check Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def _found(name: str) -> str:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") or ""


@contextmanager
def _processes(
    folder: Path, environment: Mapping[str, str]
) -> Iterator[Callable[[str, Sequence[str]], None]]:
    """Yield a function that starts a process with a log; all end with the block."""
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, words: Sequence[str]) -> None:
        with (folder / f"{name}.log").open("wb") as log:
            started.append(
                subprocess.Popen(  # noqa: S603
                    words,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env={**os.environ, **environment},
                    cwd=folder,
                )
            )

    for name in ("state", "spool", "jobs"):
        (folder / name).mkdir(exist_ok=True)
    try:
        yield start
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _wait_for_port(address: str) -> None:
    host, _, port = address.rpartition(":")
    end_s = time.monotonic() + _START_S
    while True:
        with suppress(OSError), socket.create_connection((host, int(port)), 1):
            return
        if time.monotonic() > end_s:
            raise SystemExit(f"nothing answers at {address}")
        time.sleep(0.2)


def _wait_for_output(
    words: Sequence[str], text: str, environment: Mapping[str, str] | None = None
) -> None:
    """Wait until a command prints a text."""
    end_s = time.monotonic() + _START_S
    while True:
        done = subprocess.run(  # noqa: S603
            words, capture_output=True, text=True, env={**os.environ, **(environment or {})}
        )
        if text in done.stdout:
            return
        if time.monotonic() > end_s:
            raise SystemExit(f"{' '.join(words)} does not say {text}: {done.stdout}{done.stderr}")
        time.sleep(0.5)
