"""The curve store: one run folder for each trajectory fingerprint, shared by all searches.

A curve belongs to what was trained, not to a budget or a network: every plan re-times it on its
own network. Folders are append-only and locked by their writer, so that searches that run at the
same time share work instead of repeating it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platformdirs import user_cache_dir

from floss_sim.network import load_profile
from floss_sim.records import RunFolder
from floss_sim.runs.config import RunConfig
from floss_sim.runs.lockstep import run
from floss_sim.training import join_side_by_side, learner_identity, open_learner, test_metrics

_RECORDING_NETWORK = "paper-200-20"  # any network would do: plans re-time
_EVAL_EVERY = 10
_EVAL_AT = frozenset({1, 2, 3, 5, 7, *range(15, 100, 10)})
_WAIT_FOREVER = -1.0


def default_root() -> Path:
    """Return ``$FLOSS_SIM_STORE``, or a folder in the user's cache."""
    chosen = os.environ.get("FLOSS_SIM_STORE")
    return Path(chosen) if chosen else Path(user_cache_dir("floss-sim")) / "curves"


def last_evaluated_round(rounds: int) -> int:
    """Return the last round, of ``rounds`` at least 1, at which every stored run is evaluated.

    The schedule depends on the round alone, not on a budget: 1, 2, 3, 5, 7, 10, then every 5 up
    to 100, then every 10. Searches stop runs at these rounds only, so that a curve says the same
    to every search, whoever had it trained and how far.
    """
    return next(r for r in range(rounds, 0, -1) if r % _EVAL_EVERY == 0 or r in _EVAL_AT)


@dataclass(frozen=True)
class CurveStore:
    """Learning curves under ``root``, trained on ``device`` (``"cpu"`` or ``"cuda"``).

    Plans do not need the accuracy of the server's dense P; ``diagnose`` has it measured, too, in
    rounds that are trained from now on. Each process trains with so many ``threads``.
    """

    root: Path
    device: str
    diagnose: bool = False
    threads: int = 1

    def folder(self, config: RunConfig) -> RunFolder:
        """Return the folder of a run, created if it is new.

        Raises:
            RecordError: The store cannot be written, or holds something else there.
        """
        description = self._describe(config)
        return RunFolder.open(self._path(description), description)

    def find(self, config: RunConfig) -> RunFolder | None:
        """Return the folder of a run if it has been begun; nothing is created.

        Raises:
            RecordError: It cannot be read.
        """
        path = self._path(self._describe(config))
        return RunFolder.read(path) if (path / "run.json").exists() else None

    def _describe(self, config: RunConfig) -> dict[str, Any]:
        learner = learner_identity(config, device=self.device, threads=self.threads)
        return config.description(learner)

    def _path(self, description: Mapping[str, Any]) -> Path:
        return self.root / str(description["fingerprint"])[:32]

    def rounds(self, config: RunConfig) -> int:
        """Return how many rounds of a run have been committed."""
        return self.folder(config).manifest().rounds

    def extend(self, config: RunConfig, rounds: int) -> int:
        """Train a run up to a measured round; return how many rounds were trained here.

        Waits while another process writes the run, then does only what is left. Runs that other
        threads extend meanwhile train beside it; no run depends on that.

        Raises:
            RecordError: The store cannot be written.
            NonFiniteUpdateError: The run diverges.
        """
        folder = self.folder(config)
        with folder.lock(_WAIT_FOREVER):
            before = folder.manifest().rounds
            if before >= rounds:
                return 0
            with join_side_by_side(self.device) as grid:
                run(
                    config,
                    load_profile(_RECORDING_NETWORK),
                    open_learner(
                        config, self.device, self.threads, grid=grid, diagnose=self.diagnose
                    ),
                    rounds=rounds,
                    folder=folder,
                    eval_every=_EVAL_EVERY,
                    eval_at=_EVAL_AT,
                    clock=grid.clock,
                )
        return rounds - before

    def cached_test(self, config: RunConfig, round_: int) -> dict[str, float] | None:
        """Return the test metrics of a round if they have been measured."""
        return self.folder(config).test_metrics(round_)

    def test(self, config: RunConfig, round_: int) -> dict[str, float]:
        """Return the test ``accuracy`` and ``loss`` of an evaluated round, measured once.

        Raises:
            RecordError: The round was not evaluated.
        """
        folder = self.folder(config)
        with folder.lock(_WAIT_FOREVER):
            model = folder.model(round_)
            return folder.ensure_test_metrics(
                round_, lambda: test_metrics(config, model, self.device)
            )
