"""The lockstep loop: one run from its config, a network profile and a learner.

Resuming re-simulates from time zero: the learner's calls are answered from the record up to the
last committed round, then live. The simulator's state is never stored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterator, Sequence

from floss_sim.errors import NonFiniteUpdateError, RecordError
from floss_sim.network import NetworkProfile
from floss_sim.protocol import Learner, LearnerIdentity, Metrics
from floss_sim.protocol.sampling import order_of_clients
from floss_sim.records import RunFolder, RunRecord
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
        RecordError: The folder cannot be read or written, or is of another learner.
        NonFiniteUpdateError: A client's update is not finite.
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
            are dealt. A fleet larger than the data can be given ``size_only_learner.SameExamples``.
        calibration: How real sizes relate to predicted ones.
    """
    examples = config.client_examples() if examples is None else examples
    learner = SizeOnlyLearner(config.layout, config.method, examples, calibration)
    return run(config, profile, learner, rounds=rounds)


def _check_learner(folder: RunFolder, learner: LearnerIdentity) -> None:
    """Raise RecordError unless a folder's trajectory names this learner."""
    found = {key: folder.description["trajectory"].get(key) for key in learner.settings()}
    if found != learner.settings():
        named = LearnerIdentity(found["learner"], found["device"], found["threads"])
        raise RecordError(
            f"{folder.path} is of learner {named.describe()}, but {learner.describe()} was to "
            "train; choose another folder"
        )


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
