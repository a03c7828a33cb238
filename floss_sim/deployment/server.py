"""The server's part of a deployed run: rounds, checks of replies, server steps and the record.

A round is opened for the clients that are connected, and closed with the replies that came. Updates
are aggregated in the order of the cohort, whatever arrived first, so that the model is the same as
in the simulator. A reply that is refused is lost, and the run goes on without it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field, replace
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, TypeAlias

from floss_sim.deployment.deployed_results import write_deployed_results
from floss_sim.deployment.reply_checks import check_own_metrics, check_reply
from floss_sim.deployment.run_file import DeployedRun
from floss_sim.errors import ConfigError, PayloadError, RecordError
from floss_sim.fingerprints import fingerprint
from floss_sim.protocol import NO_STATE, Arrival, Dispatch, Metrics, OwnMetrics, Upload
from floss_sim.protocol.sampling import order_of_clients
from floss_sim.protocol.weighting import weights
from floss_sim.records import RunFolder
from floss_sim.records.measured_clock import measured_clock
from floss_sim.runs.ledger import Ledger
from floss_sim.runs.lockstep import round_row
from floss_sim.simulator import AGGREGATED, RoundOutcome
from floss_sim.simulator.participation import DROPPED, Transfer
from floss_sim.training import open_learner

if TYPE_CHECKING:
    from floss_sim.training.learners.torch_learner import TorchLearner

# A node's reply as it came, of which nothing is trusted; a text is the reason why there is none.
Reply: TypeAlias = Mapping[str, object] | str


@dataclass(frozen=True)
class ClosedRound:
    """What became of a round, or of the evaluation of the clients' own models.

    Attributes:
        round: Number of the round; 0 if no update was left, so that the round is asked again, or
            if no evaluation was due.
        metrics: Accuracy and loss, where the model was evaluated, or those of own models.
        refused: Reason by client, for replies that are not used.
    """

    round: int
    metrics: Mapping[str, float]
    refused: Mapping[int, str]


@dataclass
class _OpenRound:
    number: int
    opened_at_s: float
    dispatches: tuple[Dispatch, ...]
    lost: list[Transfer] = field(default_factory=list)


@dataclass
class _DueEvaluation:
    """A closed round whose own models are not measured yet; clients that were asked for them."""

    outcome: RoundOutcome
    metrics: Metrics
    asked: tuple[int, ...] = ()


class ServerRun:
    """A run on the server; created by :func:`open_server`.

    Attributes:
        run: The run.
        folder: The run folder, with the record.
    """

    def __init__(
        self,
        run: DeployedRun,
        folder: RunFolder,
        learner: TorchLearner,
        framework: str,
        clock: Callable[[], float],
    ) -> None:
        self.run = run
        self.folder = folder
        self._learner = learner
        self._began_s: float | None = None  # the clock where the first round opened
        self._clock = clock
        name = f"measured, {framework}"
        self._ledger = Ledger(folder, fingerprint({"measured": framework}), name, 2.0, clock)
        self._closed = 0  # rounds
        self._sequence = 0
        self._open: _OpenRound | None = None
        self._due: _DueEvaluation | None = None
        self._lost: list[Transfer] = []  # transfers of attempts at the next round
        self._heard: dict[int, int] = {}  # sequence of each client's last aggregated upload

    def _now_s(self) -> float:
        """Return the seconds since the first round opened."""
        now_s = self._clock()
        if self._began_s is None:
            self._began_s = now_s
        return now_s - self._began_s

    def summary(self) -> Iterator[str]:
        """Yield lines that say what is trained, and what the server's accuracy is of."""
        config = self.run.config
        yield f"{config.task.name}: {config.describe()}"
        if config.method.private:
            yield (
                "the server's accuracy is that of the shared entries, with private ones at their "
                "initial values; own accuracy is the mean over the nodes that measured their models"
            )
        if config.method.privacy and config.method.privacy.source == "seed":
            yield 'noise of the run\'s seed protects nobody; in earnest use noise="system"'

    def open_round(self, connected: Collection[int]) -> tuple[Dispatch, ...]:
        """Return the dispatches of the next round, in the order of the cohort.

        Args:
            connected: Numbers of the clients that can take part.

        Raises:
            ConfigError: There are fewer than the cohort.
        """
        self.close_evaluation({})
        config, number = self.run.config, self._closed + 1
        fleet, size = config.fleet.clients, config.server.cohort
        order = order_of_clients(config.seed, number, 0, fleet, size)
        cohort = list(islice((c for c in order if c in connected), size))
        if len(cohort) < size:
            raise ConfigError(f"{len(cohort)} clients are connected; the cohort needs {size}")
        opened_at_s = self._now_s()
        made = [self._learner.dispatch(c, self._sequence + i) for i, c in enumerate(cohort)]
        self._sequence += len(made)
        self._open = _OpenRound(number, opened_at_s, tuple(made))
        return self._open.dispatches

    def heard(self, client: int) -> int:
        """Return the sequence of a client's last upload that was aggregated; -1 if none was.

        A client that has sent a later one takes back what that one carried (error feedback).
        """
        return self._heard.get(client, -1)

    def forget_nodes(self, clients: Iterable[int]) -> None:
        """Record that some clients have new nodes, whose next downloads build on nothing."""
        for client in clients:
            self._learner.forget_client(client)

    def close_round(self, replies: Mapping[int, Reply]) -> ClosedRound:
        """Aggregate the replies of the open round in the order of the cohort.

        Args:
            replies: By client, ``payload`` (the encoded update) and ``examples`` (their number); or
                ``lacks``, which is True if the node lost the state that the download builds on.

        Raises:
            RecordError: No round is open, or the record cannot be written.
            NonFiniteUpdateError: Training diverged.
        """
        if self._open is None:
            raise RecordError("no round is open")
        opened, self._open = self._open, None
        uploads, refused = self._checked(opened, replies)
        closed_at_s = self._now_s()
        self._lost += self._lost_transfers(opened, refused, closed_at_s)
        if not uploads:
            return ClosedRound(0, {}, refused)
        version = self._learner.aggregate(self._arrivals(opened, uploads))
        for dispatch in opened.dispatches:
            self._learner.forget(dispatch, NO_STATE)
            if dispatch.sequence in uploads:
                self._heard[dispatch.client] = dispatch.sequence
        transfers = [*self._lost, *_transfers(opened, uploads, closed_at_s)]
        transfers.sort(key=lambda transfer: transfer.sequence)
        self._lost = []
        outcome = RoundOutcome(
            opened.number, version, opened.opened_at_s, closed_at_s, len(uploads), tuple(transfers)
        )
        self._closed = outcome.round
        metrics = self._evaluated(outcome)
        if metrics and self.run.config.method.private:
            self._due = _DueEvaluation(outcome, metrics)
        else:
            self._record(outcome, metrics)
        told = {"accuracy": metrics.accuracy, "loss": metrics.loss} if metrics else {}
        return ClosedRound(opened.number, told, refused)

    def open_evaluation(self, connected: Collection[int]) -> tuple[Dispatch, ...]:
        """Return the newest version for each client that shall measure its own model; often none.

        Own models are measured where the method has private entries, which nodes alone hold, after
        rounds whose model is evaluated. The record has no transfers of it.

        Args:
            connected: Numbers of the clients that can take part.
        """
        if self._due is None:
            return ()
        self._due.asked = tuple(sorted(connected))
        learner, first = self._learner, self._sequence  # of a dispatch that the record lacks
        made = tuple(learner.dispatch(c, first + i) for i, c in enumerate(self._due.asked))
        for dispatch in made:
            learner.forget(dispatch, NO_STATE)
        return made

    def close_evaluation(self, replies: Mapping[int, Reply]) -> ClosedRound:
        """Record the round with the mean over the clients that have measured their own models.

        Args:
            replies: By client, ``accuracy`` and ``loss`` of its own model on data like its own.

        Raises:
            RecordError: The record cannot be written.
        """
        if self._due is None:
            return ClosedRound(0, {}, {})
        due, self._due = self._due, None
        measured, refused = [], dict[int, str]()
        for client in due.asked:
            try:
                reply = _answered(replies, client)
                measured.append(check_own_metrics(reply.get("accuracy"), reply.get("loss")))
            except PayloadError as error:
                refused[client] = str(error)
        if not measured:
            self._record(due.outcome, due.metrics)
            return ClosedRound(due.outcome.round, {}, refused)
        own = OwnMetrics(*map(fmean, zip(*map(astuple, measured), strict=True)))
        self._record(due.outcome, replace(due.metrics, own=own))
        told = {"own-accuracy": own.accuracy, "own-loss": own.loss, "clients": len(measured)}
        return ClosedRound(due.outcome.round, told, refused)

    def _checked(
        self, opened: _OpenRound, replies: Mapping[int, Reply]
    ) -> tuple[dict[int, Upload], dict[int, str]]:
        """Return the valid uploads by sequence, and reasons by client for all other replies."""
        uploads, refused = dict[int, Upload](), dict[int, str]()
        for dispatch in opened.dispatches:
            try:
                reply = _answered(replies, dispatch.client)
                if reply.get("lacks") is True:
                    self._learner.forget_client(dispatch.client)
                    raise PayloadError("it has lost what it held; its next download is whole")
                uploads[dispatch.sequence] = check_reply(
                    self._learner, dispatch, reply.get("payload"), reply.get("examples")
                )
            except PayloadError as error:
                refused[dispatch.client] = str(error)
        return uploads, refused

    def _arrivals(self, opened: _OpenRound, uploads: Mapping[int, Upload]) -> list[Arrival]:
        kept = [d for d in opened.dispatches if d.sequence in uploads]
        shares = weights([uploads[d.sequence] for d in kept], self.run.config.server.weighting)
        return [
            Arrival(dispatch, uploads[dispatch.sequence], share, 0)
            for dispatch, share in zip(kept, shares, strict=True)
        ]

    def _lost_transfers(
        self, opened: _OpenRound, refused: Collection[int], closed_at_s: float
    ) -> list[Transfer]:
        return [
            _transfer(dispatch, opened, "down", dispatch, 0, closed_at_s, DROPPED)
            for dispatch in opened.dispatches
            if dispatch.client in refused
        ]

    def _evaluated(self, outcome: RoundOutcome) -> Metrics | None:
        due = outcome.round % self.run.eval_every == 0 or outcome.round == self.run.rounds
        return self._learner.evaluate(outcome.version) if due else None

    def _record(self, outcome: RoundOutcome, metrics: Metrics | None) -> None:
        self._ledger.add(round_row(outcome, metrics), outcome, self._learner, replayed=False)

    def finish(self) -> Path:
        """Commit the record, measure the test split, write the adapter; return its folder.

        Raises:
            RecordError: No round was closed or evaluated, or a file cannot be written.
        """
        self.close_evaluation({})
        if not self._closed:
            raise RecordError("no round was closed: no node sent a valid update")
        self._ledger.commit(self._learner)
        record = self._ledger.record(self.folder.description)
        return write_deployed_results(self.folder, record, self.run.config)


@contextmanager
def open_server(
    run: DeployedRun,
    out: Path,
    framework: str,
    *,
    device: str = "cpu",
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[ServerRun]:
    """Open a run on the server, and hold the lock of its record for the block.

    Args:
        run: The run.
        out: Folder of the record; it holds no rounds yet.
        framework: Name and version of the deployment framework, for the record.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        clock: The server's monotonic clock, in seconds.

    Raises:
        RecordError: The folder cannot be written or holds a run.
        ConfigError: The backbone or the data cannot be used.
    """
    learner = open_learner(run.config, device, 1, "sequential")
    learner.holds_clients = False
    described = {**run.config.description(learner.identity), **measured_clock(framework)}
    folder = RunFolder.open(out, described)
    with folder.lock():
        if folder.manifest().rounds:
            raise RecordError(f"{out} holds a run already; choose another record-path")
        yield ServerRun(run, folder, learner, framework, clock)


def _answered(replies: Mapping[int, Reply], client: int) -> Mapping[str, object]:
    """Return the values of a client's reply.

    Raises:
        PayloadError: It has not replied; the message says why.
    """
    reply = replies.get(client, "no reply in time")
    if isinstance(reply, str):
        raise PayloadError(reply)
    return reply


def _transfers(
    opened: _OpenRound, uploads: Mapping[int, Upload], closed_at_s: float
) -> Iterator[Transfer]:
    for dispatch in opened.dispatches:
        if upload := uploads.get(dispatch.sequence):
            yield _transfer(dispatch, opened, "down", dispatch, 0, closed_at_s, AGGREGATED)
            yield _transfer(
                dispatch, opened, "up", upload, upload.examples, closed_at_s, AGGREGATED
            )


def _transfer(
    dispatch: Dispatch,
    opened: _OpenRound,
    direction: str,
    message: Dispatch | Upload,
    examples: int,
    closed_at_s: float,
    fate: str,
) -> Transfer:
    """Return a row of the record.

    A server sees the instants of dispatch and of the reply alone: a download is at the former, an
    upload at the latter, and what is between them counts as compute.
    """
    at_s = opened.opened_at_s if direction == "down" else closed_at_s
    return Transfer(
        dispatch.sequence, opened.number, dispatch.client, direction, dispatch.version,
        message.nbytes, message.entries, examples, at_s, at_s,
        message.nbytes, message.nbytes, 0.0, fate,
    )  # fmt: skip
