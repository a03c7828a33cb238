from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from floss_sim import RunConfig, load_task, open_learner
from floss_sim.errors import RecordError
from floss_sim.methods import method_from_name
from floss_sim.protocol import NO_STATE, Arrival, Snapshot


def config_of(rank: int = 2, method: str = "floss", **options: object) -> RunConfig:
    densities = {"down_density": 1 / 4, "up_density": 1 / 16} if method == "floss" else {}
    chosen = method_from_name(method, **{**densities, **options})
    return RunConfig.of(load_task("digits"), chosen, rank=rank)


def trained(config: RunConfig) -> Snapshot:
    """Return the snapshot after a round of one client."""
    learner = open_learner(config, "cpu")
    sent = learner.dispatch(0, 0)
    upload = learner.train(sent, NO_STATE)
    learner.aggregate([Arrival(sent, upload, 1.0, 0)])
    return replace(learner.snapshot(), clients={0: upload.client_state})


@pytest.mark.parametrize("optimizer", ["fedadam", "fedadamw", "fedavg", "fedavgm", "fedyogi"])
def test_an_own_snapshot_is_restored(optimizer: str):
    config = config_of(error_feedback=True).with_(server={"optimizer": optimizer})
    snapshot = trained(config)
    learner = open_learner(config, "cpu")
    learner.restore(snapshot)
    assert (learner.snapshot().tensors["P"] == snapshot.tensors["P"]).all()
    start = open_learner(config, "cpu").snapshot()
    learner.restore(start)  # before the first step there are no moments
    assert learner.snapshot().version == 0


def test_an_own_snapshot_of_masks_is_restored():
    config = config_of(method="adapter-lth", factor=0.8, mask_ledger=True)
    snapshot = trained(config)
    learner = open_learner(config, "cpu")
    learner.restore(snapshot)
    with pytest.raises(RecordError, match="lacks 'lost_at'"):
        learner.restore(trained(config_of()))
    with pytest.raises(RecordError, match=r"'held'.*another"):
        learner.restore(trained(config.with_(fleet={"clients": 7})))


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (config_of(rank=4), r"'P' is float32 of shape \(\d+,\); this run's is float32 of shape"),
        (config_of(method="ffa"), r"another rank, layout or method"),
        (config_of().with_(server={"optimizer": "fedavg"}), "lacks 'exp_avg'"),
    ],
    ids=["rank", "layout", "optimizer"],
)
def test_a_snapshot_of_another_run_is_refused_by_name(other: RunConfig, says: str):
    learner = open_learner(config_of(), "cpu")
    before = learner.snapshot()
    with pytest.raises(RecordError, match=says) as error:
        learner.restore(trained(other))
    assert "\n" not in str(error.value)
    assert learner.snapshot().version == before.version
    assert (learner.snapshot().tensors["P"] == before.tensors["P"]).all()


def test_a_snapshot_of_another_optimizer_with_more_is_refused():
    learner = open_learner(config_of().with_(server={"optimizer": "fedavg"}), "cpu")
    with pytest.raises(RecordError, match="optimizer fedavg lacks"):
        learner.restore(trained(config_of()))


@pytest.mark.parametrize("where", ["tensors", "clients"])
def test_arrays_of_clients_have_the_layouts_shape(where: str):
    config = config_of(error_feedback=True)
    snapshot, learner = trained(config), open_learner(config, "cpu")
    short = np.zeros(3, np.float32)
    changed = {
        "tensors": {"tensors": {**snapshot.tensors, "update/3": short}},
        "clients": {"clients": {5: {"residual": short}}},
    }[where]
    with pytest.raises(RecordError, match=r"update/3|client/5/residual"):
        learner.restore(replace(snapshot, **changed))
