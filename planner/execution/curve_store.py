"""The curve store: one run folder for each trajectory fingerprint, shared by all searches.

A curve depends on the configuration that was trained, not on a budget or a network: every plan
re-times it on its own network. Folders are append-only and locked by their writer, so that
concurrent searches share work instead of repeating it.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_cache_dir

from floss_sim import protocol
from floss_sim.analysis.last_part import last_part
from floss_sim.analysis.on_test import HitsOnTest, predictions_by_example
from floss_sim.errors import RecordError, RecordLockedError
from floss_sim.files import remove_leftovers
from floss_sim.network import load_profile
from floss_sim.records import RunFolder
from floss_sim.records.file_checks import FileChecks
from floss_sim.records.host_notes import note_doubt, note_machine
from floss_sim.records.on_test import ModelOnTest
from floss_sim.runs.conditions import timing_of
from floss_sim.runs.config import RunConfig
from floss_sim.runs.lockstep import run_steps
from floss_sim.simulator import wait_all
from floss_sim.training import learner_identity, measure_on_test, open_learner, open_side_by_side
from floss_sim.training.machine_type import machine_type
from planner.execution.own_runs import OwnRunFolder, base_of_measure, own_hits, store_own_test

if TYPE_CHECKING:
    from floss_sim.training.side_by_side.bit_checks import Doubt
    from floss_sim.training.side_by_side.stepping import SideBySide

Job = tuple[RunConfig, int]  # a run, and the round to reach
_RECORDING_NETWORK = "paper-200-20"  # any profile would do, because plans re-time runs
_EVAL_EVERY = 10  # rounds between evaluations
_EVAL_AT = frozenset({1, 2, 3, 5, 7, *range(15, 100, 10)})  # further rounds that are evaluated
_WAIT_FOREVER = -1.0  # seconds; a negative time-out means no limit
_CHECKED = "checked.jsonl"  # file of the store that remembers which folders have been verified


def default_root() -> Path:
    """Return ``$FLOSS_SIM_STORE``, or a folder in the user's cache."""
    chosen = os.environ.get("FLOSS_SIM_STORE")
    return Path(chosen).expanduser() if chosen else Path(user_cache_dir("floss-sim")) / "curves"


@cache
def store_checks(root: Path) -> FileChecks:
    """Return the verification of a store's files, shared by all folders of this process.

    What killed processes have left in the store's own folder is removed.
    """
    remove_leftovers(root)
    remedy = f"`floss-plan store check {root} --quarantine` sets it aside"
    return FileChecks(root / _CHECKED, remedy)


def last_evaluated_round(rounds: int) -> int:
    """Return the last evaluated round among the first ``rounds`` (at least 1) rounds.

    Every stored run is evaluated at rounds 1, 2, 3, 5, 7, 10, then every 5 up to 100, then every
    10, whatever the budget. Searches stop runs at these rounds only, so that a curve means the
    same to every search, no matter which search trained it and how far.
    """
    return next(r for r in range(rounds, 0, -1) if r % _EVAL_EVERY == 0 or r in _EVAL_AT)


def holds_files(folder: Path) -> bool:
    """Return whether a folder holds more than a lock and hidden files.

    A process that is killed while it creates a run's folder leaves no more than these.
    """
    if not folder.is_dir():
        return folder.exists()
    return any(not path.name.startswith((".", "run.lock")) for path in folder.iterdir())


@dataclass(frozen=True)
class CurveStore:
    """Store of learning curves.

    Attributes:
        root: Folder of the store.
        device: Torch device that trains, such as ``"cpu"`` or ``"cuda"``.
        diagnose: Whether rounds trained from now on also measure the accuracy of the server's
            dense P, which plans do not need.
        own: Whether accuracies are those of the clients' own models
            (:mod:`planner.execution.own_runs`); all runs of the folder are then trained with them.
    """

    root: Path
    device: str
    diagnose: bool = False
    own: bool = False

    @property
    def base(self) -> Path:
        """The folder that holds the runs of all measures."""
        return base_of_measure(self.root, own=self.own)

    def folder(self, config: RunConfig) -> RunFolder:
        """Return the folder of a run; it does not exist before the run is trained.

        Raises:
            RecordError: The folder cannot be read, is damaged, or holds another run.
            TaskError: The backbone's weight files are damaged or do not fit its config.
        """
        config.task.check_weights()
        if found := self.find(config):
            return found
        description = self.describe(config)
        return self._kind(self._path(description), description, store_checks(self.root))

    def create(self, config: RunConfig) -> RunFolder:
        """Return the folder of a run for training, created if it is new.

        Raises:
            RecordError: The store cannot be written, or the path holds something else.
            TaskError: The backbone's weight files are damaged or do not fit its config.
        """
        description = self.describe(config)
        config.task.check_weights()
        return RunFolder.open(self._path(description), description, store_checks(self.root))

    def find(self, config: RunConfig) -> RunFolder | None:
        """Return the folder of a run, or None if there is none; creates nothing.

        Raises:
            RecordError: The folder cannot be read, is damaged, or holds another run.
        """
        description = self.describe(config)
        path, checks = self._path(description), store_checks(self.root)
        if not holds_files(path):
            return None
        found = self._kind.read(path, checks)
        if found.description["fingerprint"] != description["fingerprint"]:
            raise RecordError(f"{path} contains another run; {checks.remedy}")
        return found

    @property
    def _kind(self) -> type[RunFolder]:
        """Kind of the folders that are read."""
        return OwnRunFolder if self.own else RunFolder

    def describe(self, config: RunConfig) -> dict[str, Any]:
        """Return the content of a run's ``run.json``.

        Raises:
            TaskError: The data cannot be read or partitioned.
        """
        learner = learner_identity(config, device=self.device)
        return config.description(learner)

    @staticmethod
    def recording() -> tuple[str, str]:
        """Return timing fingerprint and network name of the tables that this store trains."""
        profile = load_profile(_RECORDING_NETWORK)
        return timing_of(profile, wait_all().settings()), profile.name

    def _path(self, description: Mapping[str, Any]) -> Path:
        return self.root / str(description["fingerprint"])[:32]

    def rounds(self, config: RunConfig) -> int:
        """Return the number of committed rounds of a run."""
        return self.folder(config).manifest().rounds

    def extend(self, config: RunConfig, rounds: int) -> int:
        """Train a run up to an evaluated round; return the number of rounds trained by this call.

        If another process is writing the run, wait for it, then train only the missing rounds.

        Raises:
            RecordError: The store cannot be written.
            NonFiniteUpdateError: The run diverges.
        """
        (trained,) = self.extend_all([(config, rounds)])
        if isinstance(trained, Exception):
            raise trained
        return trained

    def extend_all(self, jobs: Sequence[Job], until_s: float = math.inf) -> list[int | Exception]:
        """Extend several runs side by side; the results do not depend on which ones.

        Args:
            jobs: Configurations, each with the round to reach.
            until_s: Instant of ``time.monotonic`` after which no further round is begun. The
                processes of one machine share this clock.

        Returns:
            For each run what :meth:`extend` returns, or its error.
        """
        loop = open_side_by_side(self.device)
        runs = [
            (
                self._path(self.describe(config)),
                partial(self._steps, config, rounds, loop, until_s),
            )
            for config, rounds in jobs
        ]
        return loop.finish(runs, _note)

    def _steps(
        self,
        config: RunConfig,
        rounds: int,
        loop: SideBySide,
        until_s: float,
        clock: Callable[[], float],
    ) -> Generator[protocol.Job | None, None, int]:
        """Yield the jobs of one run, and None while another process is writing it."""

        def is_over() -> bool:
            return time.monotonic() >= until_s

        folder = self.create(config)
        with ExitStack() as held:
            while not _lock(folder, held):
                if is_over():
                    return 0
                yield None
            before = folder.manifest().rounds
            if before >= rounds or is_over():
                return 0
            learner = open_learner(config, self.device, beside=loop, diagnose=self.diagnose)
            learner.measures_own = self.own
            test = partial(store_own_test, learner, folder)
            note_machine(folder.path, before, machine_type(self.device).model_dump())
            record = yield from run_steps(
                config,
                load_profile(_RECORDING_NETWORK),
                learner,
                rounds=rounds,
                folder=folder,
                eval_every=_EVAL_EVERY,
                eval_at=_EVAL_AT,
                clock=clock,
                stop=is_over,
                on_evaluation=test if self.tests_in_training(config) else lambda row: None,
            )
        return int(record.rounds.num_rows) - before

    def tests_in_training(self, config: RunConfig) -> bool:
        """Whether a run is measured on test while it trains, as its private entries are needed."""
        return self.own and bool(config.method.private)

    def cached_on_test(self, config: RunConfig, rounds: int) -> HitsOnTest | None:
        """Return what a run's last models get right on the test split, if all are measured."""
        folder = self.folder(config)
        part = last_models(folder, rounds)
        if self.tests_in_training(config):
            known = folder.own_on_test(part)
            predictions_E = predictions_by_example(config.task)
            return HitsOnTest.of_right(list(known.values()), predictions_E) if known else None
        found = folder.models_on_test(part)
        if len(found) < len(part):
            return None
        return self.hits(config, [found[number] for number in part])

    def on_test(self, config: RunConfig, rounds: int) -> HitsOnTest:
        """Return what a run's last models get right on the test split; measured only once.

        Args:
            config: The run.
            rounds: Its length; the models are those of the last part of these rounds.

        Raises:
            RecordError: A model is damaged, or no round was evaluated by then; or the models have
                private entries, and none was measured during training.
        """
        folder = self.folder(config)
        if self.tests_in_training(config):
            if known := self.cached_on_test(config, rounds):
                return known
            raise RecordError(
                f"{folder.path}: the clients' own models were not measured on test in time; remove "
                "the folder, and the run is trained again"
            )
        with folder.lock(_WAIT_FOREVER):
            models = folder.ensure_on_test(
                last_models(folder, rounds),
                lambda blobs: measure_on_test(config, blobs, self.device),
            )
        return self.hits(config, models)

    def hits(self, config: RunConfig, models: Sequence[ModelOnTest]) -> HitsOnTest:
        """Return what measured models of a run without private entries get right, by the measure.

        Args:
            config: The run.
            models: Its models on the test split.
        """
        if self.own:
            return own_hits(config, models)
        return HitsOnTest.of(models, predictions_by_example(config.task))


def last_models(folder: RunFolder, rounds: int) -> Sequence[int]:
    """Return the rounds of the last part of a run that have a model, as all evaluated ones do.

    Raises:
        RecordError: There is none.
    """
    try:
        return last_part(list(folder.manifest().models), rounds)
    except ValueError as error:
        raise RecordError(f"{folder.path} has no model to test: {error}") from None


def _note(doubt: Doubt) -> None:
    """Note a doubt in the folder of its run, if the folder is still there."""
    with suppress(OSError):
        note_doubt(*doubt)


def _lock(folder: RunFolder, held: ExitStack) -> bool:
    """Hold a folder's lock until ``held`` is closed; return False if another process holds it."""
    try:
        held.enter_context(folder.lock())
    except RecordLockedError:
        return False
    return True
