"""Every method of 2024 to 2026 in every command that takes methods or runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import printed
from exported_apps import small_config

from floss_sim import RunFolder, load_profile, run
from floss_sim.methods import METHODS
from floss_sim.methods.method_options import method_of_options
from floss_sim.runs.conditions import conditions
from floss_sim.simulator import buffered
from floss_sim.training.learners.seed_learner import SeedLearner
from floss_sim.training.learners.sequential_learner import SequentialLearner
from floss_sim.training.models.flat_model import FlatModel
from floss_sim.training.models.seed_model import build_model

OPTIONS: dict[str, dict[str, str]] = {
    "rolora": {"up_density": "1/4", "change_ledger": "yes"},
    "fslora": {"density": "1/2", "divisor": "covering"},
    "lora-a2": {"down_density": "1/2", "up_density": "1/2"},
    "fedsrd": {"down_density": "1/2", "change_ledger": "yes"},
    "ecolora": {"segments": "2", "half_life": "1", "a_density": "1/2"},
    "fedsa-lora": {"up_density": "1/2"},
    "feddpa": {"private_rank": "1", "together": "yes", "up_density": "1/2"},
    "freezing": {"freeze_every": "1", "density": "1/4"},
    "flexlora": {"tiers": "1:2,1:1", "product_rate": "0.5", "error_feedback": "no"},
    "lora-fair": {"up_density": "1/2", "penalty": "0.1"},
    "fedsvd": {"rebase_every": "2", "change_ledger": "yes", "error_feedback": "no"},
    "flora": {"merge_rate": "0.5", "error_feedback": "no"},
    "fedex-lora": {"residual_rank": "1"},
    "fed-sb": {"up_density": "1/2"},
    "ravan": {"heads": "2", "up_density": "1/2"},
    "fedkseed": {
        "candidate_seeds": "16",
        "local_steps": "2",
        "epsilon": "1e-3",
        "direction_rate": "1e-4",
    },
}
LOSSY = {"up_values": "int8", "error_feedback": "yes"}
EARLIER = {
    "floss", "dense", "floss-tiers", "sparse-adapter", "adapter-lth", "hetlora", "ffa", "bitfit",
    "full", "head",
}  # fmt: skip
CONFIG = {"model_type": "gpt2", "n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 8,
          "vocab_size": 20}  # fmt: skip
ROUNDS = 2


def test_every_later_method_is_here():
    assert OPTIONS.keys() | EARLIER == METHODS.keys()


MODELS: dict[bytes, FlatModel] = {}


def trained(name: str, path: Path, copy_at_1: Path | None = None) -> RunFolder:
    """Return the folder of a run, begun or continued there by a new learner.

    Args:
        name: The method.
        path: Folder of the run.
        copy_at_1: Where to copy the folder as it is after round 1, as if the run were killed then.
    """
    config = small_config(method_of_options(name, LOSSY | OPTIONS[name]))
    kind = SeedLearner if config.method.zeroth_order else SequentialLearner
    if config.method.zeroth_order:
        config = config.with_(client={"learning_rate": 1e-4})
    if config.layout.digest not in MODELS:  # learners load a vector before they use a model
        MODELS[config.layout.digest] = build_model(config, torch.device("cpu"))
    learner = kind(config, MODELS[config.layout.digest])
    network, policy = load_profile("lte"), buffered(1)
    folder = RunFolder.open(path, config.description(learner.identity, conditions(network, policy)))

    def copy(row: Mapping[str, object]) -> None:
        if copy_at_1 and row["round"] == 1:
            shutil.copytree(path, copy_at_1)

    run(
        config, network, learner, rounds=ROUNDS, policy=policy, folder=folder, eval_every=1,
        commit_every_s=0, on_round=copy,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunFolder]:
    """One run of each method; beside its folder is the copy of it after round 1."""
    root = tmp_path_factory.mktemp("runs")
    torch.set_num_threads(1)
    return {name: trained(name, root / name, root / f"{name}-killed") for name in OPTIONS}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_run_that_is_continued_from_its_folder_is_the_same_to_the_bit(
    name: str, runs: dict[str, RunFolder]
):
    """With int8, error feedback, and clients in flight at the stop."""
    whole = runs[name]
    killed = whole.path.with_name(f"{name}-killed")
    assert RunFolder.read(killed).manifest().rounds == 1
    parts = trained(name, killed)
    assert parts.record().rounds.equals(whole.record().rounds)
    assert parts.record().transfers.equals(whole.record().transfers)
    assert parts.model(ROUNDS) == whole.model(ROUNDS)
    kept, wanted = (dict(folder.snapshot().tensors) for folder in (parts, whole))
    assert kept.keys() == wanted.keys()
    assert all(np.array_equal(kept[key], wanted[key]) for key in wanted)
    assert parts.snapshot().in_flight


@pytest.mark.parametrize("name", OPTIONS)
def test_its_bytes_are_accounted(
    name: str, runs: dict[str, RunFolder], monkeypatch: pytest.MonkeyPatch
):
    words = ("account", str(runs[name].path), "--by", "client", "--json")
    told = json.loads(printed(monkeypatch, "floss-sim", *words))
    total, sent = told["total"], runs[name].record().transfers["sent_bytes"].to_pylist()
    assert total["useful_bytes"] + total["wasted_bytes"] == sum(sent) > 0
    assert sum(row["useful_bytes"] for row in told["rows"]) == total["useful_bytes"]


def test_all_are_compared(
    runs: dict[str, RunFolder], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    folders = [str(folder.path) for folder in runs.values()]
    words = ("compare", *folders, "--out", str(tmp_path / "made.png"), "--json")
    told = json.loads(printed(monkeypatch, "floss-sim", *words))["configurations"]
    assert {one["method"] for one in told} == OPTIONS.keys()
    assert all(one["label"].startswith(one["method"]) for one in told)


@pytest.mark.parametrize("name", OPTIONS)
def test_an_estimate_takes_the_options_of_a_run(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG), encoding="utf-8")
    given = {key: value for key, value in OPTIONS[name].items() if value not in ("yes", "no")}
    flags = [f"--{key.replace('_', '-')}" for key, value in OPTIONS[name].items() if value == "yes"]
    options = [
        text for key, value in given.items() for text in (f"--{key.replace('_', '-')}", value)
    ]
    words = ("estimate", "--backbone", str(path), "--rank", "2", "--clients", "4", "--cohort", "2")
    own = (*options, *flags, "--network", "paper-200-20", "--rounds", "3")
    told = json.loads(printed(monkeypatch, "floss-sim", *words, *own, "--method", name, "--json"))
    for way in ("download", "upload"):
        assert 0 < told[way]["payload"] < 5 * told["trained_entries"] + 500
    assert told["bytes_of_run"] > 0
