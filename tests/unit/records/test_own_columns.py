"""Columns of the clients' own models in the rounds table: only where they were measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_commits import ONE, describe, round_row, transfer_row

from floss_sim.errors import RecordError
from floss_sim.protocol import Snapshot
from floss_sim.records import ROUNDS, RunFolder
from floss_sim.records.run_part import commit_part, read_part
from floss_sim.records.schema import OWN_COLUMNS, ROUNDS_WITH_OWN
from floss_sim.runs.replay_learner import ReplayLearner


def commit(folder: RunFolder, number: int, own: float | None) -> None:
    row = round_row(number, 0.5) | dict.fromkeys(OWN_COLUMNS.names, own)
    folder.commit(
        [row],
        [transfer_row(number - 1)],
        timing=ONE,
        snapshot=Snapshot(number, {"P": np.zeros(3, np.float32)}),
        models={},
    )


def test_parts_with_and_without_them_are_one_table(tmp_path: Path):
    """As of a run that was begun without, and went on with them."""
    folder = RunFolder.open(tmp_path / "run", describe(seed=1))
    commit(folder, 1, None)
    assert RunFolder.read(folder.path).record().rounds.schema.equals(ROUNDS)
    commit(folder, 2, 0.75)
    record = RunFolder.read(folder.path).record()
    assert record.rounds.schema.equals(ROUNDS_WITH_OWN)
    assert record.rounds["own_accuracy"].to_pylist() == [None, 0.75]
    learner = ReplayLearner(record)
    assert learner.evaluate(1).own is None
    assert (learner.evaluate(2).own.accuracy, learner.evaluate(2).own.loss) == (0.75, 0.75)
    copy = RunFolder.open(tmp_path / "copy", describe(seed=1))
    commit_part(copy, read_part(folder, models=False), models=False)
    assert copy.record().rounds.equals(record.rounds)


def test_an_accuracy_that_cannot_be_is_damage(tmp_path: Path):
    folder = RunFolder.open(tmp_path / "run", describe(seed=1))
    commit(folder, 1, 1.5)
    with pytest.raises(RecordError, match="own_accuracy outside 0 to 1"):
        RunFolder.read(folder.path).record()
