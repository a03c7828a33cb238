"""Lockstep loop: simulates and trains one run, given its config, a network and a learner.

A run is a generator (:func:`run_steps`): it yields each training that it needs as a job, and its
value is the record. :func:`run` computes the jobs at once. ``training/side_by_side`` steps several
runs, and computes in one pass what they wait for.

A resumed run is simulated again from time zero. Up to the last committed round the learner's
results come from the record, afterwards from live training. The simulator's state is never stored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Generator, Iterator, Sequence
from dataclasses import astuple

from floss_sim.errors import NonFiniteUpdateError, RecordError
from floss_sim.network import NetworkProfile
from floss_sim.protocol import Job, Learner, LearnerIdentity, Metrics
from floss_sim.protocol.sampling import order_of_clients
from floss_sim.records import RunFolder, RunRecord
from floss_sim.records.schema import OWN_COLUMNS
from floss_sim.runs.calibration import UNCALIBRATED, Calibration
from floss_sim.runs.conditions import conditions, timing_of
from floss_sim.runs.config import RunConfig
from floss_sim.runs.ledger import Ledger, Row
from floss_sim.runs.resuming_learner import ResumingLearner
from floss_sim.runs.size_only_learner import SizeOnlyLearner
from floss_sim.simulator import RoundOutcome, RoundPolicy, simulate, wait_all

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
) -> RunRecord:
    """Simulate and train ``rounds`` rounds; continue the folder's run where it stopped.

    Args:
        config: Configuration of the run.
        profile: Network profile with the fleet's links.
        learner: Learner: size-only, replaying or training.
        rounds: Total number of rounds, including those already in the folder.
        policy: Policy that closes rounds; by default a round waits for all clients. With another
            policy, or if clients can be lost, the folder's trajectory must include ``conditions``.
        folder: Run folder for commits, or None; the caller holds its lock.
        eval_every: Rounds between evaluations; the last round is always evaluated.
        eval_at: Numbers of additional rounds to evaluate.
        commit_every_s: Minimum host seconds between commits; fast rounds share a commit.
        on_round: Called with each new row of the rounds table.

    Raises:
        RecordError: The folder cannot be read or written, or its run is by another learner.
        NonFiniteUpdateError: A client's update is not finite, now or in an earlier attempt.

    Example:
        >>> from floss_sim import RunConfig, dense, load_profile, load_task, open_learner, run
        >>> config = RunConfig.of(load_task("digits"), dense(), rank=1)
        >>> record = run(config, load_profile("lte"), open_learner(config, "cpu"), rounds=2)
        >>> record.evaluated()["round"].to_pylist()
        [2]
    """
    steps = run_steps(
        config,
        profile,
        learner,
        rounds=rounds,
        policy=policy,
        folder=folder,
        eval_every=eval_every,
        eval_at=eval_at,
        commit_every_s=commit_every_s,
        on_round=on_round,
    )
    try:
        while True:
            next(steps).compute()
    except StopIteration as end:
        record: RunRecord = end.value
        return record


def run_steps(
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
    on_evaluation: OnRound = lambda row: None,
    clock: Callable[[], float] = time.monotonic,
    stop: Callable[[], bool] = lambda: False,
) -> Generator[Job, None, RunRecord]:
    """Yield the jobs of a run, and return its record; the caller computes each job.

    A caller may throw a job's error into the generator, which then ends as if the run had raised
    it. Arguments and errors are those of :func:`run`, and three more: ``on_evaluation`` is called
    with each new row that was evaluated, before it is committed, so that what it stores is there
    for every committed round; ``clock`` returns the host seconds of this run, which the folder
    records; ``stop`` is asked after every round, and ends the run, which can be continued, where it
    returns True.
    """
    policy = (policy or wait_all()).checked(config.server.cohort)
    if folder:
        _check_learner(folder, learner.identity)
    done = folder.manifest().rounds if folder else 0
    if folder and done:
        learner = ResumingLearner(folder.record(), folder.snapshot(), learner)
    timing = timing_of(profile, policy.settings())
    if folder and rounds > done and (reason := folder.divergence()):
        raise NonFiniteUpdateError(reason)
    ledger = Ledger(folder, timing, profile.name, commit_every_s, clock)
    try:
        for outcome in _simulation(config, profile, policy, learner, max(rounds, done)):
            if not isinstance(outcome, RoundOutcome):
                yield outcome
                continue
            replayed = outcome.round <= done
            number = outcome.round
            due = number % eval_every == 0 or number in eval_at or number == rounds
            metrics = learner.evaluate(outcome.version) if due or replayed else None
            row = round_row(outcome, metrics)
            if metrics is not None and not replayed:
                on_evaluation(row)
            ledger.add(row, outcome, learner, replayed)
            if not replayed:
                on_round(row)
                if stop():
                    break
    except NonFiniteUpdateError as error:
        if folder:
            folder.note_divergence(str(error))
        raise
    ledger.commit(learner)
    trajectory = {**config.settings(), **conditions(profile, policy)}
    described = {"work": config.work.to_json(), "trajectory": trajectory}
    return ledger.record(folder.description if folder else described)


def size_only(
    config: RunConfig,
    profile: NetworkProfile,
    rounds: int,
    examples: Sequence[int] | None = None,
    calibration: Calibration = UNCALIBRATED,
) -> RunRecord:
    """Return the record of a run with predicted bytes and simulated seconds, without training.

    Args:
        config: Configuration of the run.
        profile: Network profile.
        rounds: Number of rounds.
        examples: Local examples of each client, over all local epochs; by default from the
            partition of the task's data. For a fleet larger than the data, pass
            ``size_only_learner.SameExamples``.
        calibration: Ratios of real to predicted sizes.

    Example:
        >>> from floss_sim import RunConfig, floss, load_profile, load_task, size_only
        >>> config = RunConfig.of(load_task("digits"), floss(1 / 4, 1 / 16), rank=4)
        >>> record = size_only(config, load_profile("lte"), rounds=3)
        >>> record.rounds["accuracy"].to_pylist()
        [None, None, None]
    """
    examples = config.client_examples() if examples is None else examples
    learner = SizeOnlyLearner(config.sizes, examples, calibration)
    return run(config, profile, learner, rounds=rounds)


def _check_learner(folder: RunFolder, learner: LearnerIdentity) -> None:
    """Raise RecordError if a folder's run was trained by a learner of another identity."""
    found = {key: folder.description["trajectory"].get(key) for key in learner.settings()}
    if found != learner.settings():
        named = LearnerIdentity(found["learner"], found["device"], found["threads"])
        raise RecordError(
            f"{folder.path} contains a run by learner {named.describe()}; the learner now is "
            f"{learner.describe()}; choose another folder"
        )


def _simulation(
    config: RunConfig, profile: NetworkProfile, policy: RoundPolicy, learner: Learner, rounds: int
) -> Iterator[Job | RoundOutcome]:
    fleet, size = config.fleet.clients, config.server.cohort

    def order_of(number: int, attempt: int) -> Iterator[int]:
        return order_of_clients(config.seed, number, attempt, fleet, size)

    links = profile.links(fleet)
    return simulate(
        learner, profile, links, policy, order_of, size, rounds, config.server.weighting,
        config.work if profile.has_devices else None,
    )  # fmt: skip


def round_row(outcome: RoundOutcome, metrics: Metrics | None) -> Row:
    """Return the row of the rounds table of an outcome; metrics are None where not evaluated."""
    names = ("accuracy", "loss", "dense_accuracy", "dense_loss")
    own = metrics and metrics.own
    own_columns = zip(OWN_COLUMNS.names, astuple(own), strict=True) if own else ()
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
        **{name: getattr(metrics, name, None) for name in names},
        **dict(own_columns),
    }
