"""Real training on digits, small enough for a suite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForImageClassification

from floss_sim import RunConfig, RunFolder, dense, floss, load_task, open_learner, run
from floss_sim.errors import ConfigError, NonFiniteUpdateError, TaskError
from floss_sim.network import NetworkProfile
from floss_sim.protocol import NO_STATE, Arrival
from floss_sim.tasks.sections import ServerSection
from floss_sim.training import LEARNERS, export_adapter, resolve_device, test_metrics
from floss_sim.training.models.flat_model import build_flat_model
from floss_sim.training.server_optimizer import ServerOptimizer
from floss_sim.wire import decode, encode

measure_on_test = test_metrics
del test_metrics  # its name would make pytest collect it


def config(down: float = 1.0, up: float = 1.0, rank: int = 4, **changes: object) -> RunConfig:
    chosen = RunConfig.of(load_task("digits"), floss(down, up), rank=rank)
    return chosen.with_(**changes)  # type: ignore[arg-type]


def test_parameters_and_gradients_are_views_of_one_vector_in_layout_order():
    chosen = config()
    flat = build_flat_model(chosen, torch.device("cpu"))
    vector = np.arange(chosen.layout.entries, dtype=np.float32)
    flat.load(vector)
    weights = flat.model.state_dict()
    name = "base_model.model.vit.layers.2.attention.q_proj.lora_A.default.weight"
    where = chosen.layout.slices["layer.002.q.lora_A"]
    assert np.array_equal(weights[name].numpy().ravel(), vector[where])
    flat.load(chosen.layout.initial_vector(0))
    flat.outputs(torch.rand(2, 1, 8, 8), torch.zeros(2))[0].sum().backward()
    trained = [p for p in flat.model.parameters() if p.requires_grad]
    assert sum(p.numel() for p in trained) == chosen.layout.entries
    together = torch.cat([p.grad.ravel() for p in trained]).abs().sum()
    assert flat.flat.grad.abs().sum() == pytest.approx(together.item(), rel=1e-6)
    assert together > 0


def test_floss_at_densities_one_equals_dense_bit_for_bit(paper: NetworkProfile):
    task = load_task("digits")
    states = []
    for method in (dense(), floss(1, 1)):
        chosen = RunConfig.of(task, method, rank=4)
        learner = open_learner(chosen, "cpu")
        record = run(chosen, paper, learner, rounds=3, eval_every=2)
        states.append((record, learner.snapshot().tensors, learner.model()))
    (first, p_first, model_first), (second, p_second, model_second) = states
    assert first.rounds.equals(second.rounds)
    assert first.transfers.equals(second.transfers)
    assert model_first == model_second
    assert all(np.array_equal(p_first[name], p_second[name]) for name in p_first)


@pytest.mark.parametrize("kind", LEARNERS)
def test_a_client_starts_from_decoded_bytes_and_returns_the_difference(kind: str):
    chosen = config(1 / 4, 1 / 8)
    learner = open_learner(chosen, "cpu", learner=kind)
    dispatch = learner.dispatch(client=3, sequence=0)
    _, mask = decode(chosen.layout, dispatch.blob)
    assert mask.sum() == dispatch.entries == int(chosen.layout.entries / 4)
    upload = learner.train(dispatch, NO_STATE)
    update, sent = decode(chosen.layout, upload.blob)
    assert sent.sum() == upload.entries <= int(chosen.layout.entries / 8)
    whole = learner._update(dispatch)
    assert np.array_equal(update[sent], whole[sent])
    assert np.abs(whole[~sent]).max() <= np.abs(update[sent]).min()
    assert learner.train(dispatch, NO_STATE).blob == upload.blob  # a pure function


def test_all_entries_train_even_those_that_were_not_downloaded():
    chosen = config(1 / 64, 1.0)
    learner = open_learner(chosen, "cpu")
    dispatch = learner.dispatch(client=3, sequence=0)
    _, mask = decode(chosen.layout, dispatch.blob)
    update, _ = decode(chosen.layout, learner.train(dispatch, NO_STATE).blob)
    assert np.count_nonzero(update[~mask]) > 100


def test_the_first_adam_step_moves_every_entry_by_the_learning_rate_against_its_sign():
    settings = ServerSection(optimizer="fedadam", learning_rate=0.01, cohort=1)
    gradient = np.array([3.0, -0.002, 0.0], np.float32)
    server = ServerOptimizer(np.zeros(3, np.float32), settings)
    server.step(gradient)
    assert server.vector() == pytest.approx([-0.01, 0.01, 0.0], rel=1e-4)


def test_adam_follows_its_published_recursion():
    settings = ServerSection(optimizer="fedadam", learning_rate=0.05, cohort=1)
    draw = np.random.default_rng(0)
    p = draw.normal(size=5).astype(np.float32)
    server = ServerOptimizer(p, settings)
    expected, m, v = p.astype(np.float64), np.zeros(5), np.zeros(5)
    for step in range(1, 8):
        gradient = draw.normal(size=5).astype(np.float32)
        server.step(gradient)
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient.astype(np.float64) ** 2
        expected -= 0.05 * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
    assert server.vector() == pytest.approx(expected, rel=1e-5)


def test_fedavg_of_dense_messages_averages_the_clients_models():
    chosen = config(server={"optimizer": "fedavg", "learning_rate": 1.0})
    learner = open_learner(chosen, "cpu")
    models, arrivals = [], []
    for sequence, client in enumerate((1, 5)):
        dispatch = learner.dispatch(client, sequence)
        upload = learner.train(dispatch, NO_STATE)
        models.append(decode(chosen.layout, dispatch.blob)[0] - learner._update(dispatch))
        arrivals.append(Arrival(dispatch, upload, 0.5, 0))
    assert learner.aggregate(arrivals) == 1
    assert learner.snapshot().tensors["P"] == pytest.approx(np.mean(models, axis=0), abs=1e-6)


def test_a_snapshot_restores_a_learner_bit_for_bit():
    chosen = config(1 / 4, 1 / 4)

    def step(learner, sequence):
        dispatch = learner.dispatch(2, sequence)
        upload = learner.train(dispatch, NO_STATE)
        learner.aggregate([Arrival(dispatch, upload, 1.0, 0)])

    straight, stopped, resumed = (open_learner(chosen, "cpu") for _ in range(3))
    for sequence in range(4):
        step(straight, sequence)
    for sequence in range(2):
        step(stopped, sequence)
    resumed.restore(stopped.snapshot())
    for sequence in range(2, 4):
        step(resumed, sequence)
    assert resumed.model() == straight.model()
    assert resumed.evaluate(4) == straight.evaluate(4)


def test_the_exported_adapter_loads_in_peft_and_gives_the_same_logits(
    paper: NetworkProfile, tmp_path: Path
):
    chosen = config(1 / 4, 1 / 4)
    learner = open_learner(chosen, "cpu")
    run(chosen, paper, learner, rounds=2)
    export_adapter(chosen, learner.model(), tmp_path / "adapter")
    base = AutoModelForImageClassification.from_pretrained(
        chosen.task.backbone_path, num_labels=10, local_files_only=True
    )
    loaded = PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    ours = build_flat_model(chosen, torch.device("cpu"))
    ours.load(decode(chosen.layout, learner.model())[0])
    x = torch.from_numpy(chosen.task.content.validation[0][:50])
    with torch.no_grad():
        assert torch.equal(loaded(pixel_values=x).logits, ours.outputs(x, x)[0])


def test_test_metrics_are_those_of_the_test_split():
    chosen = config()
    vector = chosen.layout.initial_vector(0)
    vector[chosen.layout.slices["head.weight"]] = 0
    vector[chosen.layout.slices["head.bias"]] = np.arange(10) == 7  # always answers 7
    blob = encode(chosen.layout, vector, np.ones(vector.size, bool))
    _, labels = chosen.task.content.test
    assert measure_on_test(chosen, blob, "cpu")["accuracy"] == np.mean(labels == 7)


def test_a_diverging_client_is_named():
    chosen = config(client={"learning_rate": 1e30})
    learner = open_learner(chosen, "cpu")
    with pytest.raises(NonFiniteUpdateError, match=r"client 4 .*round 1"):
        learner.train(learner.dispatch(4, 0), NO_STATE)


def test_a_backbone_without_weights_is_refused_in_one_line(tmp_path: Path):
    text = (load_task("digits")._folder / "digits.toml").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    (tmp_path / "digits_backbone").mkdir()
    (tmp_path / "digits_backbone" / "config.json").write_bytes(
        (load_task("digits").backbone_path / "config.json").read_bytes()
    )
    chosen = RunConfig.of(load_task(str(tmp_path / "mine.toml")), dense(), rank=2)
    with pytest.raises(TaskError, match="no weights in"):
        open_learner(chosen, "cpu")


def test_resolving_devices():
    assert resolve_device("cpu") == "cpu"
    with pytest.raises(ConfigError, match="valid: auto, cpu, cuda, mps"):
        resolve_device("tpu")
    if not torch.cuda.is_available():
        assert resolve_device("auto") == "cpu"
        with pytest.raises(ConfigError, match="not available"):
            resolve_device("cuda")
    if not torch.backends.mps.is_available():
        with pytest.raises(ConfigError, match=r"'mps' is not available .* valid: auto, .*cpu"):
            resolve_device("mps")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_run_on_a_gpu_learns_too(paper: NetworkProfile):
    chosen = config()
    record = run(chosen, paper, open_learner(chosen, "cuda"), rounds=20)
    assert record.evaluated()["accuracy"][-1].as_py() > 0.6


def test_training_really_learns(paper: NetworkProfile, tmp_path: Path):
    chosen = config(1 / 4, 1 / 4, rank=16)
    learner = open_learner(chosen, "cpu")
    folder = RunFolder.open(tmp_path / "run", chosen.description(learner.identity))
    record = run(chosen, paper, learner, rounds=30, folder=folder)
    assert record.evaluated()["accuracy"][-1].as_py() > 0.75  # 0.1 is chance


def test_a_diverging_server_is_named(paper: NetworkProfile):
    chosen = config(server={"optimizer": "fedavg", "learning_rate": 1e30})
    with pytest.raises(NonFiniteUpdateError, match="round"):
        run(chosen, paper, open_learner(chosen, "cpu"), rounds=4)
