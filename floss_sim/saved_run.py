"""One call for a saved run: trained in lockstep with simulated time, resumable, with its results.

:func:`train` is what the command ``floss-sim run`` does, without its printing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from floss_sim.analysis.last_part import last_part, part_text
from floss_sim.analysis.on_test import (
    AccuracyOnTest,
)
from floss_sim.analysis.recorded_networks import keep_network
from floss_sim.analysis.run_memory import check_memory
from floss_sim.analysis.run_times import recorded_times, slow_fleets, time_spread
from floss_sim.analysis.slow_fleets import SlowFleets
from floss_sim.analysis.stragglers import Straggler, straggler_of
from floss_sim.analysis.time_spread import TimeSpread
from floss_sim.errors import ConfigError
from floss_sim.network import NetworkProfile
from floss_sim.notebook import html_table
from floss_sim.records import RunFolder, RunRecord
from floss_sim.run_results import (
    model_folder,
    own_test_accuracy,
    test_accuracy,
    write_model,
    write_plot,
)
from floss_sim.runs.conditions import check_conditions, conditions
from floss_sim.runs.config import RunConfig
from floss_sim.runs.lockstep import OnRound, run
from floss_sim.runs.own_data import own_data_text
from floss_sim.simulator import RoundPolicy, wait_all
from floss_sim.training import (
    choose_learner,
    learner_identity,
    open_learner,
    resolve_device,
    training_facts,
)
from floss_sim.training.learners.local_steps import OnWork
from floss_sim.training.model_card import ON_TEST, bytes_words
from floss_sim.units import format_bytes


@dataclass(frozen=True)
class SavedRun:
    """A run on disk and its results.

    Attributes:
        config: The trained configuration.
        profile: The network.
        policy: The rule that closed rounds.
        folder: The run folder, with ``accuracy.png`` and ``adapter/`` (or ``model/``) in it.
        record: The tables of rounds and transfers.
        test: Test accuracy with its interval: the mean over the models of the last 15 % of rounds.
            The interval is over test examples; another seed varies in addition.
        own_test: Test accuracy of the clients' own models at the last evaluated round, 0 to 1; None
            where they were not measured.

    Example:
        >>> from floss_sim import RunConfig, dense, load_profile, load_task, train
        >>> config = RunConfig.of(load_task("digits"), dense(), rank=1)
        >>> saved = train(config, load_profile("lte"), rounds=1, out="runs/saved")
        >>> saved.facts()["network"], saved.plot.exists()
        ('lte', True)
    """

    config: RunConfig
    profile: NetworkProfile
    policy: RoundPolicy
    folder: RunFolder
    record: RunRecord = field(repr=False)
    test: AccuracyOnTest
    own_test: float | None = None

    @property
    def test_accuracy(self) -> float:
        """Test accuracy, 0 to 1: the mean over the models of the last 15 % of rounds."""
        return self.test.mean

    @property
    def validation_accuracy(self) -> float:
        """Validation accuracy, 0 to 1: the mean over the models of the last 15 % of rounds."""
        curve = {row["round"]: row["accuracy"] for row in self.record.evaluated().to_pylist()}
        return fmean(curve[number] for number in self.last_part)

    @property
    def last_part(self) -> Sequence[int]:
        """The evaluated rounds in the last 15 % of rounds, of which accuracies are means."""
        evaluated = self.record.evaluated()["round"].to_pylist()
        return last_part(evaluated, evaluated[-1])

    @property
    def last_evaluated(self) -> Mapping[str, Any]:
        """The row of the last evaluated round: the columns of ROUNDS, and ``total_bytes``."""
        row: Mapping[str, Any] = self.record.evaluated().to_pylist()[-1]
        return row

    @cached_property
    def time(self) -> TimeSpread:
        """Simulated time until the last evaluated round, over fleets that the network may draw.

        Where time shapes training, it is the one recorded time: another fleet is another run.
        """
        last = self.last_evaluated["round"]
        if conditions(self.profile, self.policy):
            return recorded_times(self.record).at(last)
        return time_spread(self.record, self.profile, last)

    @cached_property
    def straggler(self) -> Straggler | None:
        """The client of the recorded fleet that decides how long the run takes, or None."""
        return straggler_of(self.record, self.last_evaluated["round"])

    @cached_property
    def slow_fleets(self) -> SlowFleets | None:
        """The fleets on which a single client takes more than half of the time, or None."""
        if conditions(self.profile, self.policy):
            return None
        return slow_fleets(self.record, self.profile, self.last_evaluated["round"])

    @property
    def plot(self) -> Path:
        """The picture of accuracy against simulated time and against bytes."""
        return self.folder.path / "accuracy.png"

    @property
    def adapter(self) -> Path:
        """The exported adapter; the whole model, where the method has no adapters."""
        return model_folder(self.folder, self.config)

    @property
    def own_text(self) -> str:
        """The accuracies of the clients' own models, and of what; empty if not measured."""
        accuracy = self.last_evaluated.get("own_accuracy")
        if accuracy is None:
            return ""
        test = "" if self.own_test is None else f", on test {self.own_test:.3f}"
        text = own_data_text(self.config.fleet.law)
        return f"{accuracy:.3f}{test} at the last evaluation: {text}"

    def facts(self) -> dict[str, str]:
        """Return the results in words, by name."""
        last = self.last_evaluated
        own = {"own accuracy": text} if (text := self.own_text) else {}
        return {
            "task": self.config.task.name,
            "method": self.config.method.name,
            "configuration": self.config.describe(),
            "network": self.profile.name,
            "rounds": str(last["round"]),
            "validation accuracy": (
                f"{self.validation_accuracy:.3f} ({part_text(len(self.last_part))}; "
                f"{last['accuracy']:.3f} at the last evaluation)"
            ),
            "test accuracy": self.test.describe(),
            **own,
            "bytes": format_bytes(last["total_bytes"]),
            "simulated time": self.time.text,
            "folder": str(self.folder.path),
        }

    def card_facts(self) -> dict[str, str]:
        """Return the results in words, by name, for the card of the exported model."""
        facts, done = self.facts(), self.last_evaluated["round"]
        rounds = self.record.rounds
        down, up = (sum(rounds[f"{way}_bytes"].to_pylist()[:done]) for way in ("down", "up"))
        return {
            "rounds": facts["rounds"],
            "validation accuracy": facts["validation accuracy"],
            ON_TEST: facts["test accuracy"],
            **{name: text for name, text in facts.items() if name == "own accuracy"},
            "bytes": bytes_words(down, up),
            f"simulated time on {facts['network']}": facts["simulated time"],
        }

    def __repr__(self) -> str:
        return f"SavedRun({', '.join(f'{k}: {v}' for k, v in self.facts().items())})"

    def _repr_html_(self) -> str:
        """Return the results as a table, for notebooks."""
        return html_table(self.facts().items())


def train(
    config: RunConfig,
    profile: NetworkProfile,
    *,
    rounds: int = 200,
    out: str | Path | None = None,
    policy: RoundPolicy | None = None,
    eval_every: int = 10,
    device: str = "auto",
    threads: int = 1,
    learner: str = "bank",
    own_accuracy: bool = False,
    on_start: Callable[[int], object] = lambda done: None,
    on_round: OnRound = lambda row: None,
    on_work: OnWork = lambda what, done, total: None,
    say: Callable[[str], object] = lambda line: None,
) -> SavedRun:
    """Train a run in lockstep with simulated time; save it, its plot and its adapter.

    The same call continues an interrupted run, with equal data bit for bit. A larger ``rounds``
    prolongs a finished one.

    Args:
        config: The configuration to train.
        profile: The network.
        rounds: Rounds in all, those already in the folder included.
        out: The run folder; by default a folder below ``runs/`` that is named after the settings.
        policy: The rule that closes rounds; by default a round waits for all its clients.
        eval_every: Rounds between evaluations; the last round is always evaluated.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        threads: Threads of torch.
        learner: ``"bank"`` trains all clients of a round together, ``"sequential"`` in turn.
        own_accuracy: Whether evaluations also measure what clients hold on data like their own
            (:mod:`floss_sim.runs.own_data`). Where a method has private entries, they always do.
        on_start: Called before training with the number of rounds that the folder holds.
        on_round: Called after each new round with its row of the record.
        on_work: Called with ``"loading"``, after each local step with ``"training"`` and the steps
            of the round that are done, and all of them, with ``"evaluating"``, and in the end with
            ``"testing"``.
        say: Called with each sentence that a person should read.

    Returns:
        The run, with its record and its test accuracy.

    Raises:
        ConfigError: The policy, the device or the learner does not fit, or a client needs more
            memory than this machine has.
        RecordError: The folder cannot be written, or holds another run.
        NonFiniteUpdateError: Training diverged.

    Example:
        >>> from floss_sim import RunConfig, floss, load_profile, load_task, train
        >>> config = RunConfig.of(load_task("digits"), floss(1 / 4, 1 / 16), rank=4)
        >>> run = train(config, load_profile("lte"), rounds=2, out="runs/first")
        >>> run.record.rounds.num_rows, run.plot.name, run.adapter.name
        (2, 'accuracy.png', 'adapter')
        >>> 0 <= run.test_accuracy <= 1
        True
    """
    for name, count in (("rounds", rounds), ("eval_every", eval_every), ("threads", threads)):
        if not isinstance(count, int) or count < 1:
            raise ConfigError(f"{name} {count!r} is no whole number above 0")
    policy = policy or wait_all()
    check_conditions(config, profile, policy)
    shaped = conditions(profile, policy)
    place = resolve_device(device)
    choice = choose_learner(config, learner, place)
    if choice.reason:
        say(choice.reason)
    path = Path(out).expanduser() if out else default_folder(config, profile, policy)
    identity = learner_identity(config, learner, place, threads)
    config.task.check_weights()
    check_memory(config, place)
    folder = RunFolder.open(path, config.description(identity, shaped))
    with folder.lock():
        done = folder.manifest().rounds
        if done:
            more = "continuing from there" if done < rounds else "nothing is left to train"
            say(f"{path} holds {done} rounds; {more}")
        on_start(done)
        if reason := keep_network(folder, profile):
            say(reason)
        on_work("loading", 0, 0)
        opened = open_learner(config, place, threads, learner)
        opened.on_work, opened.measures_own = on_work, own_accuracy
        record = run(
            config,
            profile,
            opened,
            rounds=rounds,
            policy=policy,
            folder=folder,
            eval_every=eval_every,
            on_round=on_round,
        )
        on_work("testing", 0, 0)
        test = test_accuracy(folder, record, config, place)
        own_test = own_test_accuracy(folder, record, config, place)
        saved = SavedRun(config, profile, policy, folder, record, test, own_test)
        write_plot(folder, record, config, profile.name)
        facts = training_facts(config) | saved.card_facts()
        write_model(folder, config, saved.last_evaluated["round"], saved.adapter, facts)
    return saved


def default_folder(config: RunConfig, profile: NetworkProfile, policy: RoundPolicy) -> Path:
    """Return the folder below ``runs/`` that is named after task, method, rank and seed.

    Network and policy are part of the name where they shape training. Runs that differ in other
    settings, such as local epochs, need folders of their own.
    """
    shaped = f"{_policy_text(policy)} on {profile.name}" if conditions(profile, policy) else ""
    words = f"{config.task.name} {config.method.name} {config.describe()} {shaped}".strip()
    stem = re.sub(r"[^A-Za-z0-9._]+", "-", words.replace("/", "_"))
    return Path("runs") / f"{stem}-s{config.seed}"


def _policy_text(policy: RoundPolicy) -> str:
    """Return a policy as ``--policy`` and ``--late`` spell it."""
    timed = math.isfinite(policy.deadline_s)
    parts = (
        policy.name,
        f"{policy.deadline_s:g}s" if timed else "",
        str(policy.reports) if policy.reports is not None else "",
        str(policy.minimum) if timed and policy.minimum != 1 else "",
    )
    late = " finish" if policy.late == "finish" else ""
    return ":".join(part for part in parts if part) + late
