"""Clients' own models: measured label by label here, in one pass with weights there."""

from __future__ import annotations

from dataclasses import astuple, replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from floss_sim import RunConfig, dense, load_profile, load_task, open_learner, run
from floss_sim.methods import Method, feddpa, fedsa_lora
from floss_sim.records.schema import OWN_COLUMNS
from floss_sim.runs.own_data import own_data_text, own_weights
from floss_sim.training.evaluation import Predictions, measure
from floss_sim.training.learners.own_models import own_sums
from floss_sim.training.learners.torch_learner import TorchLearner


def config_of(method: Method, **fleet: object) -> RunConfig:
    config = RunConfig.of(load_task("digits"), method, rank=2)
    averages = {"cohort": 2, "optimizer": "fedavg", "learning_rate": 1.0}
    return config.with_(fleet={"alpha": 0.3, **fleet}, server=averages)


@cache
def trained(method: Method) -> tuple[dict[str, object], TorchLearner]:
    """Return the row of a run's third round, and its learner."""
    config = config_of(method)
    learner = open_learner(config, "cpu")
    record = run(config, load_profile("lte"), learner, rounds=3)
    return record.evaluated().to_pylist()[-1], learner


def by_labels(learner: TorchLearner, models: list[np.ndarray]) -> tuple[float, float]:
    """Return the mean accuracy and loss of a model for each client, on its labels one at a time."""
    config, found = learner.config, {}
    x, y = (torch.from_numpy(part) for part in config.task.content.validation)
    parts = [(x[y == n], y[y == n]) for n in range(10)]
    own = []
    for client, vector_N in zip(config.clients, models, strict=True):
        if vector_N.tobytes() not in found:
            made = [measure(learner._measured, vector_N, *part) for part in parts]
            found[vector_N.tobytes()] = np.array(made)
        labels = config.task.content.train[1][client]
        shares = np.array([(labels == n).mean() for n in range(10)])
        own.append(shares @ found[vector_N.tobytes()])
    return tuple(np.mean(own, axis=0).tolist())


@pytest.mark.parametrize("method", [fedsa_lora(), feddpa(1)], ids=["B", "ranks"])
def test_own_metrics_are_means_over_clients_of_their_models_on_their_labels(method: Method):
    row, learner = trained(method)
    private_N = method.private.mask(learner.layout)
    initial_N, shared_N = learner.layout.initial_vector(0), learner.snapshot().tensors["P"]
    kept = [learner._clients.private.vector(client) for client in range(50)]
    assert 3 <= sum(own is not None for own in kept) <= 6
    models = [np.where(private_N, initial_N if k is None else k, shared_N) for k in kept]
    told = [row[name] for name in OWN_COLUMNS.names]
    assert told == pytest.approx(by_labels(learner, models), abs=1e-5)
    assert told[0] != row["accuracy"]


def test_the_measure_is_free_for_other_methods_and_changes_nothing_else():
    row, learner = trained(dense())
    assert not set(OWN_COLUMNS.names) & set(row)
    learner.measures_own = True
    metrics = learner.evaluate(3)
    learner.measures_own = False
    assert replace(metrics, own=None) == learner.evaluate(3)
    vector_N = learner.snapshot().tensors["P"]
    expected = by_labels(learner, [vector_N] * 50)
    assert astuple(metrics.own) == pytest.approx(expected, abs=1e-5)
    assert metrics.own.accuracy != row["accuracy"]


def test_the_shared_adapter_of_feddpa_in_turns_is_that_of_dense_lora():
    """It trains without the clients' own ones, from the values of the same seed."""
    (_, ours), (_, theirs) = trained(feddpa(1)), trained(dense())
    shared_N = ours.snapshot().tensors["P"][~ours.method.private.mask(ours.layout)]
    assert shared_N == pytest.approx(theirs.snapshot().tensors["P"], abs=1e-4)
    pair, one = ours.config, theirs.config
    assert pair.adapters.scale == one.adapters.scale
    assert pair.client_examples() == [2 * count for count in one.client_examples()]
    assert feddpa(0).settings() == dense().settings()


def test_a_partition_that_is_not_by_labels_is_measured_on_the_whole_split():
    config = config_of(dense(), law="iid")
    assert own_weights(config, config.task.content.validation[1]) is None
    made = Predictions(0.75, 0.5, np.array([True, True, True, False]), np.zeros(4, np.float32))
    assert own_sums(range(50), made, None).tolist() == [37.5, 25.0]
    assert own_data_text("iid").endswith("on the whole split (partition iid is not by labels)")
    assert "label shares" in own_data_text("dirichlet")


def test_labels_that_the_split_lacks_are_left_out():
    content = SimpleNamespace(train=(None, np.array([0, 0, 1, 2, 2, 2])))
    config = SimpleNamespace(
        fleet=SimpleNamespace(law="dirichlet"),
        task=SimpleNamespace(content=content, labels=3),
        clients=(np.array([0, 1, 2]), np.array([0, 3]), np.array([3, 4])),
    )
    labels = np.array([0, 1, 1, 0, 0, 0])
    weights = own_weights(config, labels)
    expected = [
        [2 / 12, 1 / 6, 1 / 6, 2 / 12, 2 / 12, 2 / 12],
        [1 / 4, 0, 0, *[1 / 4] * 3],
        [1 / 6] * 6,
    ]
    assert weights.by_label[:, labels] == pytest.approx(np.array(expected))
    assert weights.summed([0, 2]) == pytest.approx(np.add(expected[0], expected[2]))
