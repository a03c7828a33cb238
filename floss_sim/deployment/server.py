"""The server's part of a deployed run: rounds, checks of replies, server steps and the record.

A round is opened for the clients that are connected, and closed with the replies that came. Updates
are aggregated in the order of the cohort, whatever arrived first, so that the model is the same as
in the simulator. A reply that is refused is lost, and the run goes on without it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from floss_sim.deployment.reply_checks import check_reply
from floss_sim.deployment.run_file import DeployedRun
from floss_sim.errors import ConfigError, PayloadError, RecordError
from floss_sim.fingerprints import fingerprint
from floss_sim.protocol import Arrival, Dispatch, Upload
from floss_sim.protocol.sampling import order_of_clients
from floss_sim.protocol.weighting import weights
from floss_sim.records import RunFolder
from floss_sim.records.measured_clock import measured_clock
from floss_sim.runs.ledger import Ledger
from floss_sim.runs.lockstep import round_row
from floss_sim.saved_run import write_deployed_results
from floss_sim.simulator import AGGREGATED, RoundOutcome
from floss_sim.simulator.participation import DROPPED, Transfer
from floss_sim.training import open_learner

if TYPE_CHECKING:
    from floss_sim.training.learners.torch_learner import TorchLearner


@dataclass(frozen=True)
class Reply:
    """A node's reply as it came; nothing of it is trusted.

    Attributes:
        payload: The encoded update.
        examples: Number of examples that the client trained on.
        lacks: True if the node has lost the state that the download builds on, and sends nothing.
    """

    payload: object
    examples: object
    lacks: object = None


@dataclass(frozen=True)
class ClosedRound:
    """What became of a round.

    Attributes:
        round: Number of the round; 0 if no update was left, so that the round is asked again.
        metrics: Accuracy and loss, where the model was evaluated.
        refused: Reason by client, for replies that are not aggregated.
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
        self._lost: list[Transfer] = []  # transfers of attempts at the next round
        self._heard: dict[int, int] = {}  # sequence of each client's last aggregated upload

    def _now_s(self) -> float:
        """Return the seconds since the first round opened."""
        now_s = self._clock()
        if self._began_s is None:
            self._began_s = now_s
        return now_s - self._began_s

    def open_round(self, connected: Collection[int]) -> tuple[Dispatch, ...]:
        """Return the dispatches of the next round, in the order of the cohort.

        Args:
            connected: Numbers of the clients that can take part.

        Raises:
            ConfigError: There are fewer than the cohort.
        """
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

    def close_round(self, replies: Mapping[int, Reply | str]) -> ClosedRound:
        """Aggregate the replies of the open round in the order of the cohort.

        Args:
            replies: Replies by client; a text is the reason why there is none.

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
            self._learner.forget(dispatch)
            if dispatch.sequence in uploads:
                self._heard[dispatch.client] = dispatch.sequence
        transfers = [*self._lost, *_transfers(opened, uploads, closed_at_s)]
        transfers.sort(key=lambda transfer: transfer.sequence)
        self._lost = []
        outcome = RoundOutcome(
            opened.number, version, opened.opened_at_s, closed_at_s, len(uploads), tuple(transfers)
        )
        return ClosedRound(opened.number, self._record(outcome), refused)

    def _checked(
        self, opened: _OpenRound, replies: Mapping[int, Reply | str]
    ) -> tuple[dict[int, Upload], dict[int, str]]:
        """Return the valid uploads by sequence, and reasons by client for all other replies."""
        uploads, refused = dict[int, Upload](), dict[int, str]()
        for dispatch in opened.dispatches:
            reply = replies.get(dispatch.client, "no reply in time")
            if isinstance(reply, str):
                refused[dispatch.client] = reply
                continue
            if reply.lacks is True:
                self._learner.forget_client(dispatch.client)
                refused[dispatch.client] = "it has lost what it held; its next download is whole"
                continue
            try:
                uploads[dispatch.sequence] = check_reply(
                    self._learner, dispatch, reply.payload, reply.examples
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

    def _record(self, outcome: RoundOutcome) -> dict[str, float]:
        run = self.run
        self._closed = outcome.round
        due = outcome.round % run.eval_every == 0 or outcome.round == run.rounds
        metrics = self._learner.evaluate(outcome.version) if due else None
        self._ledger.add(round_row(outcome, metrics), outcome, self._learner, replayed=False)
        return {"accuracy": metrics.accuracy, "loss": metrics.loss} if metrics else {}

    def finish(self) -> Path:
        """Commit the record, measure the test split, write the adapter; return its folder.

        Raises:
            RecordError: No round was closed or evaluated, or a file cannot be written.
        """
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
    described = {**run.config.description(learner.identity), **measured_clock(framework)}
    folder = RunFolder.open(out, described)
    with folder.lock():
        if folder.manifest().rounds:
            raise RecordError(f"{out} holds a run already; choose another record-path")
        yield ServerRun(run, folder, learner, framework, clock)


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
