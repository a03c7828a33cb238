"""The lockstep loop: one run from its config, a network profile and a learner.

Resuming re-simulates from time zero: the learner's calls are answered from the record up to the
last committed round, then live. The simulator's state is never stored.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from floss_sim.calibration import UNCALIBRATED, Calibration
from floss_sim.config import RunConfig
from floss_sim.errors import ConfigError, NonFiniteUpdateError
from floss_sim.fingerprints import fingerprint
from floss_sim.learners import ResumingLearner, SizeOnlyLearner
from floss_sim.network import ClientLink, NetworkProfile
from floss_sim.protocol import ClientState, Dispatch, Learner, Metrics
from floss_sim.protocol.sampling import order_of_clients
from floss_sim.records.folder import RunFolder
from floss_sim.records.host_notes import note_host
from floss_sim.records.schema import ROUNDS, RunRecord
from floss_sim.records.transfer_table import TransferTable
from floss_sim.simulator import RoundOutcome, RoundPolicy, simulate, wait_all
from floss_sim.units import format_duration

_TIMING_SCHEMA = 2  # counted up when the simulator's times change
Row = dict[str, Any]
OnRound = Callable[[Row], None]


def run(
    config: RunConfig,
    profile: NetworkProfile,
    learner: Learner,
    *,
    rounds: int,
    policy: RoundPolicy | None = None,
    folder: RunFolder | None = None,
    eval_every: int = 10,
    eval_at: Container[int] = (),
    commit_every_s: float = 2.0,
    on_round: OnRound = lambda row: None,
    clock: Callable[[], float] = time.monotonic,
) -> RunRecord:
    """Simulate and train ``rounds`` rounds; continue the folder's run where it stopped.

    Args:
        config: What is trained.
        profile: The fleet's links.
        learner: What answers: size-only, replayed or really training.
        rounds: Total number of rounds, those already in the folder included.
        policy: When a round closes; it waits for all clients by default. Where it does not, or
            where clients may be lost, the folder's trajectory must hold ``conditions``.
        folder: Where to commit, if anywhere; the caller holds its lock.
        eval_every: Rounds between evaluations; the last round is always evaluated.
        eval_at: More rounds to evaluate.
        commit_every_s: Host seconds after which a round is committed; fast rounds share a commit.
        on_round: Called with each new row of the record's table of rounds.
        clock: Host seconds of this run, which the folder notes.

    Raises:
        RecordError: The folder cannot be read or written.
        NonFiniteUpdateError: A client's update is not finite.
    """
    policy = (policy or wait_all()).checked(config.server.cohort)
    done = folder.committed().rounds if folder else 0
    if folder and done:
        learner = ResumingLearner(folder.record(), folder.snapshot(), learner)
    timing = timing_of(profile, policy.settings())
    if folder and rounds > done and (reason := folder.divergence()):
        raise NonFiniteUpdateError(reason)
    ledger = _Ledger(folder, timing, profile.name, commit_every_s, clock)
    try:
        for outcome in _outcomes(config, profile, policy, learner, max(rounds, done)):
            replayed = outcome.round <= done
            number = outcome.round
            due = number % eval_every == 0 or number in eval_at or number == rounds
            metrics = learner.evaluate(outcome.version) if due or replayed else None
            row = _row(outcome, metrics)
            ledger.add(row, outcome, learner, replayed)
            if not replayed:
                on_round(row)
    except NonFiniteUpdateError as error:
        if folder:
            folder.note_divergence(str(error))
        raise
    ledger.commit(learner)
    trajectory = {**config.settings(), **conditions(profile, policy)}
    return ledger.record(folder.description if folder else {"trajectory": trajectory})


def size_only(
    config: RunConfig,
    profile: NetworkProfile,
    rounds: int,
    examples: Sequence[int] | None = None,
    calibration: Calibration = UNCALIBRATED,
) -> RunRecord:
    """Return what rounds would cost in predicted bytes and seconds; nothing is trained.

    Args:
        config: What would be trained.
        profile: The network.
        rounds: How many.
        examples: Local examples of each client, epochs included; by default as the task's data
            are dealt. A fleet larger than the data can be given ``learners.SameExamples``.
        calibration: How real sizes relate to predicted ones.
    """
    examples = config.client_examples() if examples is None else examples
    learner = SizeOnlyLearner(config.layout, config.method, examples, calibration)
    return run(config, profile, learner, rounds=rounds)


def _outcomes(
    config: RunConfig, profile: NetworkProfile, policy: RoundPolicy, learner: Learner, rounds: int
) -> Iterator[RoundOutcome]:
    fleet, size = config.fleet.clients, config.server.cohort

    def order_of(number: int, attempt: int) -> Iterator[int]:
        return order_of_clients(config.seed, number, attempt, fleet, size)

    links = profile.links(fleet)
    return simulate(
        learner, profile, links, policy, order_of, size, rounds, config.server.weighting
    )


def check_conditions(config: RunConfig, profile: NetworkProfile, policy: RoundPolicy) -> None:
    """Check before anything is trained that rounds can close as their policy wants.

    Raises:
        ConfigError: The policy asks for more reports than the cohort has clients, or no client
            could meet its deadline by predicted sizes, alone on its links.
        ProfileError: The profile's table has fewer clients than the fleet.
    """
    policy.checked(config.server.cohort)
    links = profile.links(config.fleet.clients)
    if math.isinf(policy.deadline_s):
        return
    learner = SizeOnlyLearner(config.layout, config.method, config.client_examples())

    def seconds(link: ClientLink, way: str, nbytes: int) -> float:
        limit = profile.alone_bits_per_s(way)
        return link.transfer_s(way, nbytes, profile.transport, limit_bits_per_s=limit)

    def alone_s(client: int) -> float:
        dispatch = learner.dispatch(client, 0)
        upload, link = learner.train(dispatch, {}), links[client]
        first_s = seconds(link, "down", profile.first_download) if profile.first_download else 0.0
        down_s, up_s = seconds(link, "down", dispatch.nbytes), seconds(link, "up", upload.nbytes)
        return first_s + down_s + link.compute_s(upload.examples) + up_s

    fastest_s = min(alone_s(client) for client in range(config.fleet.clients))
    if fastest_s > policy.deadline_s:
        raise ConfigError(
            f"policy deadline: no client can meet {format_duration(policy.deadline_s)}; by "
            f"predicted sizes the fastest takes {format_duration(fastest_s)} on {profile.name}"
        )


def timing_of(profile: NetworkProfile, policy_settings: Mapping[str, Any]) -> str:
    """Return the fingerprint of what times a trajectory: network, policy, and this code's laws."""
    laws = {"timing_schema": _TIMING_SCHEMA}
    return fingerprint({**profile.settings(), **policy_settings, **laws})


def conditions(profile: NetworkProfile, policy: RoundPolicy) -> dict[str, Any]:
    """Return what a trajectory must hold where time or chance of the network shape training.

    Empty where rounds wait for all clients and none is ever lost: the network then changes
    seconds alone.
    """
    if not (policy.shapes_training or profile.shapes_training):
        return {}
    return {"conditions": {**profile.settings(), **policy.settings()}}


def _row(outcome: RoundOutcome, metrics: Metrics | None) -> Row:
    measured = vars(metrics) if metrics else dict.fromkeys(Metrics.__dataclass_fields__)
    return {
        "round": outcome.round,
        "version": outcome.version,
        "opened_at_s": outcome.opened_at_s,
        "closed_at_s": outcome.closed_at_s,
        "reports": outcome.reports,
        "down_bytes": outcome.nbytes("down"),
        "up_bytes": outcome.nbytes("up"),
        "wasted_bytes": outcome.wasted_bytes(),
        "wire_bytes": outcome.wire_bytes(),
        **measured,
    }


class _Ledger:
    """All rows of a run, and which of them its folder has not committed yet."""

    def __init__(
        self,
        folder: RunFolder | None,
        timing: str,
        network: str,
        commit_every_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._folder = folder
        self._commit_every_s = commit_every_s
        self._timing = timing
        self._network = network
        self._same_timing = folder is not None and folder.committed().timing == timing
        self._rounds: list[Row] = []
        self._transfers = TransferTable()
        self._pending = (0, 0)
        self._models: dict[int, bytes] = {}
        self._clients: Mapping[int, ClientState] = {}
        self._in_flight: tuple[Dispatch, ...] = ()
        self._clock = clock
        self._began, self._committed = clock(), time.monotonic()
        self._done = folder.committed().rounds if folder else 0

    def add(self, row: Row, outcome: RoundOutcome, learner: Learner, replayed: bool) -> None:
        """Take a round's rows; commit them now and then."""
        self._rounds.append(row)
        self._clients, self._in_flight = outcome.client_states, outcome.in_flight
        self._transfers.extend(outcome.transfers)
        if replayed and self._same_timing:
            self._pending = len(self._rounds), len(self._transfers)
        if replayed or self._folder is None:
            return
        if row["accuracy"] is not None:
            self._models[row["round"]] = learner.model()
        if time.monotonic() - self._committed > self._commit_every_s:
            self.commit(learner)

    def commit(self, learner: Learner) -> None:
        """Append the pending rows to the folder, if there are any."""
        rounds, transfers = self._pending
        if self._folder is None or rounds == len(self._rounds):
            return
        began = time.monotonic()
        self._folder.commit(
            self._rounds[rounds:],
            self._transfers.table()[transfers:],
            timing=self._timing,
            network=self._network,
            snapshot=replace(learner.snapshot(), clients=self._clients, in_flight=self._in_flight),
            models=self._models,
        )
        self._pending = len(self._rounds), len(self._transfers)
        self._models = {}
        self._committed = time.monotonic()
        if self._commit_every_s:  # large checkpoints of many clients: a tenth of the time
            self._commit_every_s = max(self._commit_every_s, 10 * (self._committed - began))
        elapsed_s = self._clock() - self._began
        last, peak_bytes = self._rounds[-1]["round"], learner.device_peak_bytes()
        note_host(self._folder.path, self._done, last, elapsed_s, peak_bytes)

    def record(self, description: Mapping[str, Any]) -> RunRecord:
        """Return everything as tables."""
        rounds = pa.Table.from_pylist(self._rounds, schema=ROUNDS)
        return RunRecord(description, rounds, self._transfers.table())
