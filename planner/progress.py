"""Progress of a search: stage, rounds done and expected, runs, best accuracy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from floss_sim.units import format_bytes


@dataclass(frozen=True)
class Progress:
    """Progress of a search.

    Attributes:
        stage: Description of the current stage.
        done: Finished rounds of training, baselines included.
        expected: Most rounds that the search will take; 0 if not known yet.
        runs: Number of runs started, baselines included.
        best: Best smoothed validation accuracy so far, 0 to 1; None before the first evaluation.
        left_s: Seconds of training that are left; None if the effort is no time.
        warning: Sentence to show at once, which is said only in this call; empty if there is none.
        cluster: State of the cluster that trains; None on this machine alone.
        workers: Runs that train at once; 0 if not known yet.
        busy_share: Fraction of the workers' time in which they trained; None if not known yet.
    """

    stage: str
    done: int = 0
    expected: int = 0
    runs: int = 0
    best: float | None = None
    left_s: float | None = None
    warning: str = ""
    cluster: ClusterState | None = None
    workers: int = 0
    busy_share: float | None = None

    def describe(self) -> str:
        """Return the best accuracy so far and the load of the workers; empty without both."""
        best = [] if self.best is None else [f"best {self.best:.3f}"]
        return ", ".join([*best, *self._load()])

    def _load(self) -> list[str]:
        """Return workers and busy share, on a cluster also retries and bytes."""
        told = []
        if self.workers > 1:
            told.append(f"{self.workers} workers")
        if self.busy_share is not None and self.workers:
            told.append(f"{100 * self.busy_share:.0f} % busy")
        if self.cluster:
            moved = self.cluster.sent_bytes, self.cluster.received_bytes
            sent, received = (format_bytes(count) for count in moved)
            retries = self.cluster.retries
            told.append(f"{retries} {'retry' if retries == 1 else 'retries'}")
            told.append(f"{sent} sent, {received} received")
        return told

    def line(self) -> str:
        """Return the whole progress in one line, for a log."""
        if not self.expected:
            return self.stage
        best = f", {self.describe()}" if self.describe() else ""
        rounds = f"{self.done} of at most {self.expected} rounds"
        return f"{self.stage}; {self.runs} runs begun, {rounds}{best}"


@dataclass(frozen=True)
class ClusterState:
    """State of the cluster that trains a search.

    Attributes:
        engine: Engine as the user named it.
        workers: Calls that run at once.
        busy: Calls under way.
        waiting: Calls that wait for a worker.
        busy_share: Fraction of the workers' time in which calls were under way, since the first.
        retries: Calls that were made again, because their worker died, failed or did not answer.
        failures: Runs that failed in all their calls.
        sent_bytes: Bytes sent to workers.
        received_bytes: Bytes received from workers.
        restarts: Runs that were begun anew on machines of another type.
    """

    engine: str
    workers: int
    busy: int = 0
    waiting: int = 0
    busy_share: float = 0.0
    retries: int = 0
    failures: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    restarts: int = 0

    def with_load(self, busy: int, waiting: int, busy_share: float) -> ClusterState:
        """Return the state with other numbers of calls."""
        return replace(self, busy=busy, waiting=waiting, busy_share=busy_share)

    def with_added(
        self, *, retries: int = 0, failures: int = 0, sent_bytes: int = 0, received_bytes: int = 0
    ) -> ClusterState:
        """Return the state with higher counts."""
        return replace(
            self,
            retries=self.retries + retries,
            failures=self.failures + failures,
            sent_bytes=self.sent_bytes + sent_bytes,
            received_bytes=self.received_bytes + received_bytes,
        )


OnProgress = Callable[[Progress], None]
