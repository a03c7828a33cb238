from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from floss_sim.errors import ConfigError, LayoutError
from floss_sim.methods import Method, dense, feddpa, floss
from floss_sim.protocol import LearnerIdentity
from floss_sim.runs import config as config_module
from floss_sim.runs.config import RunConfig
from floss_sim.tasks import load_task

FLOSS = floss(1 / 4, 1 / 16)


@pytest.fixture
def config(write_task) -> RunConfig:
    return RunConfig.of(load_task(str(write_task())), FLOSS, rank=4, seed=3)


def text(config: RunConfig, learner: str = "torch", device: str = "cpu", threads: int = 1) -> str:
    """Return the ingredients as the text that a fingerprint is taken from."""
    return json.dumps(
        config.trajectory(LearnerIdentity(learner, device, threads)),
        sort_keys=True,
        allow_nan=False,
    )


# of


def test_a_run_takes_its_settings_from_the_task(config: RunConfig):
    assert config.fleet.clients == 9
    assert config.client.epochs == 2
    assert config.server.cohort == 4


def test_a_run_has_rank_16_and_seed_0_unless_told(write_task):
    wide = {
        "model_type": "vit",
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
    }
    run = RunConfig.of(load_task(str(write_task(config=wide))), dense())
    assert (run.rank, run.seed) == (16, 0)


def test_the_layout_is_lora_on_the_tasks_roles_plus_a_head_of_its_classes(config: RunConfig):
    """Two layers, q and v of width 8 at rank 4, and three classes."""
    assert config.layout.entries == 2 * 2 * 2 * 4 * 8 + 3 * 8 + 3


@pytest.mark.parametrize("rank", [0, -1, 9])
def test_a_rank_that_does_not_fit_the_backbone_is_refused(write_task, rank: int):
    with pytest.raises(LayoutError, match="valid: 1 to"):
        RunConfig.of(load_task(str(write_task())), FLOSS, rank=rank)


def test_a_negative_seed_is_refused(write_task):
    with pytest.raises(ConfigError, match="seed -1"):
        RunConfig.of(load_task(str(write_task())), FLOSS, rank=4, seed=-1)


def test_a_task_whose_cohort_exceeds_its_fleet_is_refused(write_task):
    with pytest.raises(ConfigError, match="cohort of 10 clients; valid: 1 to the fleet's 9"):
        RunConfig.of(load_task(str(write_task("cohort = 4", "cohort = 10"))), FLOSS, rank=4)


def test_a_task_with_an_unknown_role_is_refused(write_task):
    with pytest.raises(LayoutError, match="unknown LoRA target 'c_attn'"):
        RunConfig.of(load_task(str(write_task('"q"', '"c_attn"'))), FLOSS, rank=4)


def test_a_run_can_be_made_without_reading_the_data(write_task):
    path = write_task()
    (path.parent / "data.npz").unlink()
    assert RunConfig.of(load_task(str(path)), FLOSS, rank=4).layout.entries > 0


# with_


def test_changed_settings_leave_the_first_run_as_it_was(config: RunConfig):
    changed = config.with_(fleet={"clients": 6}, client={"epochs": 1}, server={"cohort": 2})
    assert (changed.fleet.clients, changed.client.epochs, changed.server.cohort) == (6, 1, 2)
    assert (config.fleet.clients, config.client.epochs, config.server.cohort) == (9, 2, 4)
    assert changed.client.learning_rate == config.client.learning_rate
    assert len(changed.clients) == 6


def test_no_change_is_the_same_run(config: RunConfig):
    assert config.with_() == config
    assert hash(config.with_()) == hash(config)
    assert config.with_(client={}, server={"cohort": 4}) == config


@pytest.mark.parametrize(
    "changes",
    [
        {"fleet": {"clients": 0}},
        {"fleet": {"law": "shards"}},
        {"fleet": {"alpha": -1.0}},
        {"fleet": {"size": 5}},
        {"client": {"learning_rate": 0.0}},
        {"client": {"learning_rate": float("nan")}},
        {"client": {"momentum": 1.0}},
        {"client": {"batch_size": 2.5}},
        {"client": {"epochs": None}},
        {"client": {"lr": 0.1}},
        {"server": {"optimizer": "sgd"}},
        {"server": {"cohort": 0}},
    ],
)
def test_a_change_that_no_task_file_could_hold_is_refused_by_its_key(
    config: RunConfig, changes: dict[str, dict[str, Any]]
):
    (key,) = next(iter(changes.values()))
    with pytest.raises(ConfigError, match=f"settings: {key}: "):
        config.with_(**changes)


@pytest.mark.parametrize("changes", [{"server": {"cohort": 10}}, {"fleet": {"clients": 3}}])
def test_a_change_that_makes_the_cohort_exceed_the_fleet_is_refused(config: RunConfig, changes):
    with pytest.raises(ConfigError, match=r"cohort of \d+ clients; valid: 1 to the fleet's"):
        config.with_(**changes)


# clients


def test_the_clients_share_the_training_data(config: RunConfig):
    assert sorted(np.concatenate(config.clients).tolist()) == list(range(45))
    assert [part.size for part in config.clients] == [5] * 9


def test_a_client_works_through_its_examples_once_an_epoch(config: RunConfig):
    assert config.client_examples() == [10] * 9
    assert config.with_(client={"epochs": 3}).client_examples() == [15] * 9
    uneven = config.with_(fleet={"clients": 7})
    assert sorted(uneven.client_examples()) == [12] * 4 + [14] * 3


def test_more_clients_than_examples_are_refused(config: RunConfig):
    with pytest.raises(ConfigError, match="valid: 1 to 45"):
        _ = config.with_(fleet={"clients": 46}).clients


def test_the_partition_follows_the_seed_and_not_the_method(write_task):
    task = load_task(str(write_task()))
    one, two, other = (
        [part.tolist() for part in RunConfig.of(task, method, rank=rank, seed=seed).clients]
        for method, rank, seed in ((FLOSS, 4, 0), (dense(), 2, 0), (FLOSS, 4, 1))
    )
    assert one == two != other


# what names a trajectory


@pytest.mark.parametrize(
    "changes",
    [
        {"fleet": {"clients": 8}},
        {"fleet": {"law": "dirichlet"}},
        {"fleet": {"alpha": 0.5}},
        {"client": {"learning_rate": 0.051}},
        {"client": {"momentum": 0.8}},
        {"client": {"batch_size": 8}},
        {"client": {"epochs": 1}},
        {"server": {"optimizer": "fedavg"}},
        {"server": {"learning_rate": 4e-3}},
        {"server": {"cohort": 3}},
    ],
)
def test_every_setting_of_clients_and_server_is_part_of_the_trajectory(config: RunConfig, changes):
    assert text(config.with_(**changes)) != text(config)


@pytest.mark.parametrize(
    ("method", "rank", "seed"),
    [
        (floss(1 / 2, 1 / 16), 4, 3),
        (floss(1 / 4, 1 / 8), 4, 3),
        (floss(1 / 16, 1 / 4), 4, 3),
        (dense(), 4, 3),
        (FLOSS, 5, 3),
        (FLOSS, 4, 2),
    ],
)
def test_method_rank_and_seed_are_part_of_the_trajectory(
    config: RunConfig, method: Method, rank: int, seed: int
):
    assert text(RunConfig.of(config.task, method, rank=rank, seed=seed)) != text(config)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "tiny"', 'name = "other"'),
        ("classes = 3", "classes = 4"),
        ("validation = 10", "validation = 11"),
        ("test = 5", "test = 6"),
        ('targets = ["q", "v"]', 'targets = ["q", "k"]'),
        ("alpha = 16", "alpha = 8"),
        ("alpha = 16", "alpha = 16\ndropout = 0.1"),
        ("[lora]", "[preprocess]\nimage_size = 224\n[lora]"),
        ("clients = 9", "clients = 9\nmin_examples = 2"),
        ("epochs = 2", 'epochs = 2\nprecision = "bf16"'),
    ],
)
def test_what_the_task_file_says_is_part_of_the_trajectory(
    config: RunConfig, write_task, old: str, new: str
):
    task = load_task(str(write_task(old, new, folder="other")))
    assert text(RunConfig.of(task, FLOSS, rank=4, seed=3)) != text(config)


VIT = {"model_type": "vit", "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2}


@pytest.mark.parametrize(
    "changes",
    [
        {"arrays": {"x": np.arange(240.0).reshape(60, 1, 2, 2) + 1, "y": np.arange(60) % 3}},
        {"arrays": {"x": np.arange(240.0).reshape(60, 1, 2, 2), "y": np.arange(60) % 2}},
        {"arrays": {"x": np.arange(240.0).reshape(60, 1, 1, 4), "y": np.arange(60) % 3}},
        {"config": {**VIT, "layer_norm_eps": 1e-6}},
        {"weights": b"other weights"},
    ],
)
def test_data_and_backbone_are_part_of_the_trajectory(config: RunConfig, write_task, changes):
    task = load_task(str(write_task(folder="other", **changes)))
    assert text(RunConfig.of(task, FLOSS, rank=4, seed=3)) != text(config)


def test_learner_device_and_threads_are_part_of_the_trajectory(config: RunConfig):
    made = {
        text(config),
        text(config, learner="torch-batched"),
        text(config, device="cuda"),
        text(config, threads=2),
    }
    assert len(made) == 4


@pytest.mark.parametrize("package", ["numpy", "torch", "transformers", "peft"])
def test_the_versions_that_train_are_part_of_the_trajectory(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, package: str
):
    monkeypatch.setattr(
        config_module, "installed_versions", config_module.installed_versions.__wrapped__
    )
    before, real = text(config), config_module.version
    monkeypatch.setattr(config_module, "version", lambda p: "0" if p == package else real(p))
    assert text(config) != before


@pytest.mark.parametrize("constant", ["CODE_SCHEMA", "RECORD_VERSION"])
def test_the_numbers_of_code_and_record_are_part_of_the_trajectory(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, constant: str
):
    before = text(config)
    monkeypatch.setattr(config_module, constant, getattr(config_module, constant) + 1)
    assert text(config) != before


def test_where_the_files_lie_and_how_they_are_written_is_not(config: RunConfig, write_task):
    path = write_task("momentum = 0.9", "momentum = 0.90  # as published", folder="elsewhere")
    renamed = path.rename(path.with_name("renamed.toml"))
    assert text(RunConfig.of(load_task(str(renamed)), FLOSS, rank=4, seed=3)) == text(config)


def test_numbers_that_are_equal_make_the_same_trajectory(config: RunConfig):
    one = config.with_(client={"learning_rate": 1}, server={"learning_rate": 1, "cohort": 4.0})
    other = config.with_(client={"learning_rate": 1.0}, server={"learning_rate": 1.0})
    assert text(one) == text(other)


def test_floss_that_sends_everything_shares_the_trajectory_of_dense(config: RunConfig):
    made = {
        text(RunConfig.of(config.task, method, rank=4, seed=3))
        for method in (dense(), floss(1.0, 1.0), floss(1, 1))
    }
    assert len(made) == 1


def test_using_a_run_does_not_change_its_trajectory(config: RunConfig):
    before = text(config)
    _ = config.clients, config.layout.digest, config.client_examples()
    assert text(config) == text(config.with_()) == before


def test_a_run_that_has_been_used_equals_one_that_has_not(config: RunConfig):
    used = config.with_()
    _ = used.clients, used.layout.digest
    assert used == config
    assert hash(used) == hash(config)


# description


def test_the_description_names_the_run_in_plain_values(config: RunConfig):
    description = config.description(LearnerIdentity("torch", "cpu", 2))
    assert json.loads(json.dumps(description)) == description
    assert description["method"] == "floss"
    assert description["trajectory"] == config.trajectory(LearnerIdentity("torch", "cpu", 2))
    assert len(description["fingerprint"]) == 64


def test_the_fingerprint_follows_the_trajectory_alone(config: RunConfig):
    def fingerprint(run: RunConfig) -> str:
        return run.description(LearnerIdentity("torch"))["fingerprint"]

    assert fingerprint(config) == fingerprint(config.with_())
    assert fingerprint(config) != fingerprint(config.with_(client={"epochs": 1}))
    one, other = (
        RunConfig.of(config.task, method, rank=4) for method in (dense(), floss(1.0, 1.0))
    )
    assert fingerprint(one) == fingerprint(other)


def test_a_private_rank_that_does_not_fit_is_named_beside_the_shared_one():
    with pytest.raises(LayoutError, match="shared rank 62 and private rank 3 together: rank 65 do"):
        _ = RunConfig.of(load_task("digits"), feddpa(3), rank=62).layout
