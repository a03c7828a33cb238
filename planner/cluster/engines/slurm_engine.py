"""Slurm engine: workers are Slurm jobs, submitted by submitit, spoken to through a shared folder.

A worker stays for the whole search. A job for each call would wait in the queue and load its
libraries each time. Calls and answers travel as files; submitit pickles no more than the name of
the function that a worker begins with, and the path of its folder.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from floss_sim.errors import ConfigError
from planner.cluster.engine import Engine
from planner.cluster.engines.extras import ANSWER_S, extra
from planner.cluster.engines.job_queue import Answer, QueueExecutor
from planner.cluster.engines.mailbox import serve

# Keys of ``slurm:key=value,...`` and what submitit calls them.
_PARAMETERS = {
    "account": "slurm_account",
    "constraint": "slurm_constraint",
    "cpus": "cpus_per_task",
    "gpus": "gpus_per_node",
    "gres": "slurm_gres",
    "mem_gb": "mem_gb",
    "partition": "slurm_partition",
    "qos": "slurm_qos",
    "time": "timeout_min",
}
_NUMBERS = frozenset({"cpus", "gpus", "mem_gb", "time"})
_GPU_KEYS = frozenset({"gpus", "gres"})
_OTHER_KEYS = frozenset({"folder", "local"})
_TIME_MIN = 24 * 60  # minutes after which a job ends, where no time is given
_LOCAL_POLL_S, _POLL_S = 0.05, 0.5  # seconds between two looks at the shared folder
_ASK_S = 5.0  # seconds between two questions to Slurm
_QUEUE_S = 7 * 24 * 3600.0  # seconds that a call may wait until a job starts


@contextmanager
def open_slurm(spec: str, workers: int | None = None) -> Iterator[Engine]:
    """Yield the engine of a Slurm cluster; after the block no job is left in its queue.

    Args:
        spec: ``slurm:key=value,...``. Keys are ``account``, ``constraint``, ``cpus``, ``gpus``,
            ``gres``, ``mem_gb``, ``partition``, ``qos``, ``time`` (minutes), ``folder`` (one that
            all nodes see; by default below the user's cache), and ``local=true``: processes of this
            machine in place of Slurm's jobs.
        workers: Number of jobs.

    Raises:
        ConfigError: A key or a value is wrong, submitit is not installed, or Slurm does not answer.
    """
    given = _settings(spec)
    if workers is None:
        raise ConfigError(f"--executor {spec} needs --workers: the number of jobs in the queue")
    with extra("slurm", "submitit"):
        import submitit
    local = given.pop("local", "false") == "true"
    root = Path(given.pop("folder", user_cache_path("floss-sim") / "slurm")).expanduser()
    values = {_PARAMETERS[key]: int(v) if key in _NUMBERS else v for key, v in given.items()}
    if not local:
        _check_slurm(spec)
    root.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="search-", dir=root))
    submitter = submitit.AutoExecutor(folder / "log", cluster="local" if local else "slurm")
    submitter.update_parameters(**{"name": "floss-sim", "timeout_min": _TIME_MIN} | values)
    queue = _Local(submitter) if local else _Slurm(submitter)
    executor = QueueExecutor(queue, folder, workers, queue.poll_s)
    try:
        yield Engine(executor, workers, spec, cancel=executor.give_up, queue_s=_QUEUE_S)
    finally:
        executor.shutdown()


def _settings(spec: str) -> dict[str, str]:
    """Return the keys and values of a text.

    Raises:
        ConfigError: A key is unknown or comes twice, or a value is wrong.
    """
    given: dict[str, str] = {}
    for item in spec.partition(":")[2].split(","):
        key, _, value = (part.strip() for part in item.partition("="))
        valid = sorted(_PARAMETERS.keys() | _OTHER_KEYS)
        if key not in valid or not value or key in given:
            raise ConfigError(
                f"executor {spec}: {item!r}; valid: key=value with {', '.join(valid)}"
            )
        if key in _NUMBERS and not (value.isdigit() and int(value)):
            raise ConfigError(f"executor {spec}: {key} is a whole number from 1, not {value!r}")
        given[key] = value
    if given.get("local", "true") not in ("true", "false"):
        raise ConfigError(f"executor {spec}: local is true or false")
    if given.get("local") == "true" and _GPU_KEYS & given.keys():
        raise ConfigError(f"executor {spec}: local=true has no GPUs; --executor local uses them")
    return given


def _check_slurm(spec: str) -> None:
    """Raise ConfigError unless Slurm's commands are installed and its controller answers."""
    try:
        subprocess.run(
            ["squeue", "--noheader", "--me"],  # noqa: S607
            capture_output=True, text=True, timeout=ANSWER_S, check=True,
        )  # fmt: skip
    except FileNotFoundError:
        raise ConfigError(f"executor {spec}: no command squeue; is Slurm here?") from None
    except subprocess.TimeoutExpired:
        raise ConfigError(
            f"executor {spec}: Slurm does not answer within {ANSWER_S:.0f} s"
        ) from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines()
        raise ConfigError(f"executor {spec}: {said[-1] if said else 'squeue failed'}") from None


def _work(folder: str, function: Answer, poll_s: float) -> int:
    """Serve a worker's folder, in the process of its job; return the number of calls."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # submitit ignores it
    return serve(Path(folder), function, poll_s)


class _Submitted:
    """Jobs that submitit has submitted."""

    poll_s = _POLL_S

    def __init__(self, submitter: Any) -> None:
        self._submitter = submitter
        self._jobs: dict[str, Any] = {}

    def start(self, folder: Path, function: Answer) -> str:
        """Submit a worker that serves a folder with a function; return the name of its job."""
        job = self._submitter.submit(_work, str(folder), function, self.poll_s)
        self._jobs[job.job_id] = job
        return str(job.job_id)

    def last_line(self, job: str) -> str:
        """Return the last line of a job's log of errors; empty if there is none."""
        with suppress(OSError, UnicodeDecodeError):
            lines = self._jobs[job].paths.stderr.read_text(encoding="utf-8").strip().splitlines()
            return str(lines[-1]) if lines else ""
        return ""


class _Local(_Submitted):
    """Processes of this machine; a job's name is the number of its controller's process."""

    poll_s = _LOCAL_POLL_S

    def alive(self) -> Collection[str]:
        """Return the names of the jobs that run."""
        return {name for name, job in self._jobs.items() if not job.done()}

    def cancel(self, job: str) -> None:
        """End a job: the controller passes the signal on."""
        if not self._jobs[job].done():
            os.kill(int(job), signal.SIGTERM)


class _Slurm(_Submitted):
    """Jobs of Slurm. Its accounting, which submitit asks, need not be installed: squeue tells."""

    def __init__(self, submitter: Any) -> None:
        super().__init__(submitter)
        self._alive: set[str] = set()
        self._asked_s = float("-inf")

    def start(self, folder: Path, function: Answer) -> str:
        """Submit a worker that serves a folder with a function; return the name of its job."""
        job = super().start(folder, function)
        self._alive.add(job)
        return job

    def alive(self) -> Collection[str]:
        """Return the names of the jobs that wait or run, asked at most every five seconds."""
        if not self._jobs or time.monotonic() < self._asked_s + _ASK_S:
            return self._alive
        self._asked_s = time.monotonic()
        command = ["squeue", "--noheader", "--me", "--format=%i"]
        with suppress(OSError, subprocess.SubprocessError):  # its controller may be away
            done = subprocess.run(  # noqa: S603
                command, capture_output=True, text=True, timeout=ANSWER_S, check=True
            )
            self._alive = set(done.stdout.split()) & self._jobs.keys()
        return self._alive

    def cancel(self, job: str) -> None:
        """End a job that waits or runs."""
        self._jobs[job].cancel(check=False)
        self._asked_s = float("-inf")
