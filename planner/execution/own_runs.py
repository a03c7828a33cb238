"""Stored runs as a plan reads them that compares the mean over clients of each one's own model.

All runs of such a plan are trained with this measure, in a folder of the store of their own: runs
without it stay where they are, and are not read. Validation has it in columns of the record, which
take the place of the global ones here. On test, what own models get right follows from the global
model's single predictions where clients keep nothing. Private entries are those of the last round
only, so that runs with such are measured on test after each evaluated round, before its commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from floss_sim.analysis.on_test import HitsOnTest, predictions_by_example
from floss_sim.records import RunFolder, RunRecord
from floss_sim.records.on_test import ModelOnTest
from floss_sim.records.schema import OWN_COLUMNS, ROUNDS
from floss_sim.runs.config import RunConfig
from floss_sim.runs.own_data import own_test_right

if TYPE_CHECKING:
    from floss_sim.training.learners.torch_learner import TorchLearner

OWN_STORE = "own"  # folder of a store with the runs that measure own models


def root_of_measure(root: Path, *, own: bool) -> Path:
    """Return the folder of a store whose runs have a measure: own models, or the global one."""
    return root / OWN_STORE if own else root


def base_of_measure(root: Path, *, own: bool) -> Path:
    """Return the folder of which :func:`root_of_measure` gives a root."""
    return root.parent if own else root


class OwnRunFolder(RunFolder):
    """A run folder for reading, whose accuracies and losses are those of the own models."""

    def record(self) -> RunRecord:
        """Return the committed tables, with the own columns in place of the global ones.

        Raises:
            RecordError: A committed file is missing or damaged, or contradicts the manifest.
        """
        made = super().record()
        rows = made.rounds.to_pylist()
        for row in rows:
            row["accuracy"], row["loss"] = (row.get(name) for name in OWN_COLUMNS.names)
        table = type(made.rounds).from_pylist(rows, ROUNDS)
        return RunRecord(made.description, table, made.transfers)


def store_own_test(learner: TorchLearner, folder: RunFolder, row: Mapping[str, Any]) -> None:
    """Store what own models with private entries get right on the test split after a round.

    It is called before the round is committed: if the process ends in between, the round is trained
    again, and the result is the same.

    Args:
        learner: Learner of the run.
        folder: Its folder, which the caller has locked.
        row: The round's row of the record.
    """
    folder.note_own_on_test({row["round"]: learner.own_right("test")})


def own_hits(config: RunConfig, models: Sequence[ModelOnTest]) -> HitsOnTest:
    """Return what own models get right on test where all clients hold the global model."""
    rights = own_test_right(config, [model.right for model in models])
    return HitsOnTest.of_right(rights, predictions_by_example(config.task))
