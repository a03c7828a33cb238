"""Runs that change the backbone: interrupted ones go on bit for bit, and sizes are as predicted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from floss_sim import RunConfig, RunFolder, load_profile, load_task, run, size_only
from floss_sim.errors import RecordError
from floss_sim.methods import method_from_name
from floss_sim.protocol import Metrics
from floss_sim.records import RunRecord
from floss_sim.records.checkpoint import pack
from floss_sim.training.learners.sequential_learner import SequentialLearner
from floss_sim.training.models.flat_model import FlatModel, build_flat_model

STOPS, ROUNDS = 2, 4
NETWORK = load_profile("paper-200-20")


class Unmeasured(SequentialLearner):
    def evaluate(self, version: int) -> Metrics:
        return Metrics(0.5, 1.0)


class Stops(Unmeasured):
    def aggregate(self, arrivals):
        if self.version == STOPS:
            raise KeyboardInterrupt
        return super().aggregate(arrivals)


def config_of(name: str, **options: object) -> RunConfig:
    chosen = RunConfig.of(load_task("digits"), method_from_name(name, **options), rank=1)
    return chosen.with_(fleet={"clients": 60}, server={"cohort": 3})


@pytest.fixture(scope="module")
def model() -> FlatModel:
    torch.set_num_threads(1)
    return build_flat_model(config_of("flora"), torch.device("cpu"))


def test_an_interrupted_run_goes_on_bit_for_bit_and_sizes_are_as_predicted(
    model: FlatModel, tmp_path: Path
):
    config, found = config_of("fedex-lora"), []
    for place, kinds in (("whole", [Unmeasured]), ("parts", [Stops, Unmeasured])):
        for kind in kinds:
            learner = kind(config, model)
            shaped = config.description(learner.identity)
            folder = RunFolder.open(tmp_path / place, shaped)
            try:
                record = run(
                    config, NETWORK, learner,
                    rounds=ROUNDS, folder=folder, commit_every_s=0,
                )  # fmt: skip
            except KeyboardInterrupt:
                assert {"step/1", "step/2"} <= folder.snapshot().tensors.keys()
        found.append((record, pack(folder.snapshot())))
    (record, whole), (again, parts) = found
    assert record.transfers.equals(again.transfers)
    assert whole.keys() == parts.keys()
    assert all(np.array_equal(whole[key], parts[key]) for key in whole)
    check_sizes(config, record)


def check_sizes(config: RunConfig, record: RunRecord) -> None:
    """Check downloads against predictions, which know the rounds that each client missed."""
    sent, guess = (
        one.transfers.to_pandas().query("direction == 'down' and version > 0")
        for one in (record, size_only(config, NETWORK, ROUNDS))
    )
    assert (sent.client == guess.client).all()
    assert (sent.entries == guess.entries).all()
    assert np.abs(sent.nbytes / guess.nbytes - 1).max() < 0.08
    assert sent.nbytes.max() > 1.5 * sent.nbytes.min()


def test_a_checkpoint_without_the_version_of_a_client_is_refused(model: FlatModel):
    config = config_of("flora")
    learner = Unmeasured(config, model)
    run(config, NETWORK, learner, rounds=1)
    taken = learner.snapshot()
    state = {"held": taken.tensors["P"], "held_version": taken.tensors["P"]}
    with pytest.raises(RecordError, match="held_version"):
        learner.restore(replace(taken, clients={3: state}))
