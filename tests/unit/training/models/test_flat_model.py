"""Flat models of every family and task: what trains, what stays, what comes back."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from places import SHARED
from tiny_models import AUTO, CASES, LABELS, NEXT_TOKEN, TEXTS, TinyRun, examples, tiny_model
from torch.nn import functional

from floss_sim.errors import LayoutError
from floss_sim.training import export_adapter
from floss_sim.training.evaluation import measure
from floss_sim.training.local_sgd import train_locally, work_of
from floss_sim.training.models.flat_model import FlatModel, build_flat_model
from floss_sim.vectors.layout import ADAPTED_WEIGHT, ADAPTER_LAYOUTS, LAYOUTS, MERGED
from floss_sim.wire import encode

torch.set_num_threads(1)
CPU = torch.device("cpu")
STORIES = SHARED / "stories260K-hf"


@pytest.fixture(params=CASES, ids="-".join)
def tiny(request: pytest.FixtureRequest, folders: dict[str, Path]) -> TinyRun:
    """LoRA on all targets, for each family and task."""
    family, kind = request.param
    return TinyRun(folders[family], kind)


def plain(run: TinyRun):
    """The backbone as its own library loads it."""
    head = {} if run.kind == NEXT_TOKEN else {"num_labels": LABELS}
    auto = AUTO[run.kind]
    return auto.from_pretrained(run.folder, ignore_mismatched_sizes=True, **head).eval()


def started(run: TinyRun) -> FlatModel:
    flat = build_flat_model(run, CPU)
    flat.load(flat.base + run.layout.initial_vector(run.seed))
    return flat


def trained(
    run: TinyRun, flat: FlatModel | None = None, mask: np.ndarray | None = None, client: int = 0
):
    flat = flat or started(run)
    before = flat.vector()
    return before, step(run, flat, examples(run.kind), mask, client)


def step(run: TinyRun, flat: FlatModel, data, mask: np.ndarray | None = None, client: int = 0):
    every = np.arange(len(data[1]))
    settings = run.client, run.seed, ("client", client)
    work = work_of(flat.vector(), mask, every, data[0], flat.inputs, *settings)
    return train_locally(flat, *data, run.client, work)


def layouts_of(run: TinyRun) -> list[str]:
    """The layouts that there are for a run's family and task."""
    lacking = {"head", *(["bitfit"] if run.folder.name == "llama" else [])}
    return [name for name in LAYOUTS if run.kind != NEXT_TOKEN or name not in lacking]


def frozen(run: TinyRun) -> list[int]:
    """Sizes of the tensors that only the server changes."""
    return [math.prod(t.shape) for t in run.layout.tensors if t.kind == ADAPTED_WEIGHT]


def test_every_tensor_of_every_layout_trains_and_nothing_else_does(tiny: TinyRun):
    for trains in layouts_of(tiny):
        run = replace(tiny, trains=trains)
        flat = started(run)
        noise = np.random.default_rng(5).normal(scale=0.3, size=run.layout.entries)
        flat.load(flat.base + noise.astype(np.float32))  # A learns where B is not zero
        weights = {name: p.detach().clone() for name, p in flat.model.named_parameters()}
        trained(run, flat)
        moved = {n for n, p in flat.model.named_parameters() if not torch.equal(p, weights[n])}
        learning = {n for n, p in flat.model.named_parameters() if p.requires_grad}
        every = len(run.layout.tensors) + len(run.layout.local)
        assert len(learning) == every - len(frozen(run))
        # A key's bias adds one number to all of a row's scores, and softmax does not notice.
        assert {n for n in learning ^ moved if not n.endswith(("key.bias", "k_proj.bias"))} == set()


def test_loading_a_vector_is_the_way_back_from_reading_it(tiny: TinyRun):
    for trains in layouts_of(tiny):
        run = replace(tiny, trains=trains)
        flat = build_flat_model(run, CPU)
        vector = np.random.default_rng(2).normal(size=flat.layout.entries).astype(np.float32)
        flat.load(vector)
        assert np.array_equal(flat.vector(), vector)
        learning = sum(p.numel() for p in flat.model.parameters() if p.requires_grad)
        assert learning == vector.size + flat.layout.local_entries - sum(frozen(run))


def test_the_base_is_the_pretrained_model_and_training_begins_there(tiny: TinyRun):
    """With offsets zero the model answers as the file's; bar the new head, in all layouts alike."""
    x, y = examples(tiny.kind)
    kept = plain(tiny)
    for trains in layouts_of(tiny):
        run = replace(tiny, trains=trains)
        flat = started(run)
        weights = kept.state_dict()
        for tensor in run.layout.tensors:
            where = run.layout.slices[tensor.name]
            if tensor.kind.startswith("head"):
                head = "classifier." if tiny.folder.name in ("vit", "bert") else "score."
                values = torch.from_numpy(flat.vector()[where]).view(tensor.shape)
                weights[head + tensor.name.removeprefix("head.")].copy_(values)
            elif tensor.kind in ("bias", "weight", ADAPTED_WEIGHT):
                assert flat.base[where].any()
            else:
                assert not flat.base[where].any()
        kept.config.pad_token_id = getattr(flat.inputs, "pad", None)
        with torch.no_grad():
            expected = kept(**flat.inputs.read(x)).logits
            found, targets = flat.outputs(x, y)
        expected, same = flat.inputs.targets(expected, x, y)
        assert torch.allclose(found, expected, atol=1e-6)
        assert torch.equal(targets, same)


def test_the_gradient_is_that_of_plain_autograd(tiny: TinyRun):
    run = replace(tiny, trains="ffa")
    flat = started(run)
    flat.set_training(True)
    x, y = examples(run.kind)
    loss = functional.cross_entropy(*flat.outputs(x, y))
    learning = [p for p in flat.model.parameters() if p.requires_grad]
    expected = torch.autograd.grad(loss, learning, retain_graph=True)
    loss.backward()
    for parameter, gradient in zip(learning, expected, strict=True):
        assert torch.equal(parameter.grad, gradient)
    assert flat.flat.grad.abs().sum() > 0
    assert flat.flat.grad.norm() == pytest.approx(sum(g.norm() ** 2 for g in expected) ** 0.5)


def test_entries_outside_the_mask_keep_their_bits(tiny: TinyRun):
    for trains in layouts_of(tiny):
        run = replace(tiny, trains=trains)
        mask = np.random.default_rng(3).random(run.layout.entries) < 0.3
        before, after = trained(run, mask=mask)
        assert np.array_equal(before[~mask], after[~mask])
        assert (before[mask] != after[mask]).any()
    before, after = trained(tiny, mask=np.ones(tiny.layout.entries, bool))
    assert np.array_equal(after, trained(tiny)[1])


def test_ffas_a_is_what_dense_lora_of_that_seed_begins_with(tiny: TinyRun):
    lora, ffa = (replace(tiny, trains=trains, seed=5) for trains in ("lora", "ffa"))
    ours, theirs = started(ffa), started(lora)
    frozen = dict(ours.model.named_parameters())
    for name, parameter in theirs.model.named_parameters():
        if "lora_A" in name:
            assert parameter.detach().any()
            assert torch.equal(frozen[name], parameter)
            assert not frozen[name].requires_grad


def test_nothing_depends_on_the_state_of_torchs_generator(tiny: TinyRun):
    for trains in layouts_of(tiny):
        vectors = []
        for seed in (0, 1):
            torch.manual_seed(seed)
            vectors.append(trained(replace(tiny, trains=trains))[1])
        assert np.array_equal(*vectors)


@pytest.mark.parametrize("of_lora", [True, False])
def test_dropout_repeats_with_the_seed_and_acts_only_in_training(
    of_lora: bool, folders: dict[str, Path], tmp_path: Path
):
    tiny_model("gpt2", resid_pdrop=0.0 if of_lora else 0.5).save_pretrained(tmp_path)
    run = TinyRun(tmp_path, TEXTS, dropout=0.5 if of_lora else 0.0)
    vectors = []
    for client in (1, 1, 2):
        flat = started(run)
        vectors.append(trained(run, flat, client=client)[1])
    assert np.array_equal(vectors[0], vectors[1])
    assert not np.array_equal(vectors[0], vectors[2])
    measured = [measure(flat, vectors[0], *examples(TEXTS)) for _ in range(2)]
    assert measured[0] == measured[1]


def test_bf16_autocast_differs_and_differs_little(tiny: TinyRun):
    plain, half = (trained(replace(tiny, precision=name)) for name in ("fp32", "bf16"))
    steps = [after - before for before, after in (plain, half)]
    assert all(vector.dtype == np.float32 for vector in half)
    assert not np.array_equal(*steps)
    cosine = steps[0] @ steps[1] / np.linalg.norm(steps[0]) / np.linalg.norm(steps[1])
    assert cosine > 0.99


def test_checkpointing_gives_the_same_training(tiny: TinyRun):
    for trains in ("lora", "full"):
        run = replace(tiny, trains=trains)
        plain, again = trained(run), trained(replace(run, checkpointing=True))
        assert np.array_equal(plain[0], again[0])
        assert plain[1] == pytest.approx(again[1], rel=1e-4, abs=1e-6)


def test_checkpointing_really_computes_layers_twice(folders: dict[str, Path]):
    for checkpointing, calls in ((False, 1), (True, 2)):
        flat = started(TinyRun(folders["gpt2"], TEXTS, checkpointing=checkpointing))
        seen: list[int] = []
        layer = flat.model.get_base_model().transformer.h[0]
        layer.mlp.register_forward_pre_hook(lambda *_, seen=seen: seen.append(1))
        flat.set_training(True)
        functional.cross_entropy(*flat.outputs(*examples(TEXTS))).backward()
        assert len(seen) == calls


def test_an_export_is_loaded_by_its_own_library_and_gives_the_same_logits(
    tiny: TinyRun, tmp_path: Path
):
    x, y = examples(tiny.kind)
    for trains in layouts_of(tiny):
        run = replace(tiny, trains=trains)
        draw = np.random.default_rng(4)
        offsets = draw.normal(scale=0.1, size=run.layout.entries).astype(np.float32)
        blob = encode(run.layout, offsets, np.ones(offsets.size, bool))
        export_adapter(run, blob, tmp_path / trains)
        ours = build_flat_model(run, CPU)
        ours.load(ours.base + offsets)
        if trains in ADAPTER_LAYOUTS and trains != MERGED:
            loaded = PeftModel.from_pretrained(plain(run), str(tmp_path / trains)).eval()
            loaded.config.pad_token_id = getattr(ours.inputs, "pad", None)
        else:
            loaded = AUTO[run.kind].from_pretrained(tmp_path / trains).eval()
        with torch.no_grad():
            found = loaded(**ours.inputs.read(x)).logits
            expected = ours.outputs(x, y)[0]
        found = ours.inputs.targets(found, x, y)[0]
        if trains == MERGED:  # its adapters are added to the weights, which rounds
            assert torch.allclose(found, expected, atol=1e-5)
        else:
            assert torch.equal(found, expected)


def test_measuring_does_not_depend_on_the_batches(tiny: TinyRun):
    x, y = examples(tiny.kind, 40)
    flat = started(tiny)
    vector = tiny.layout.initial_vector(0)
    whole = measure(flat, vector, x, y)
    flat.inputs = replace(flat.inputs, rows=3)
    assert measure(flat, vector, x, y) == pytest.approx(whole, rel=1e-5)
    with torch.no_grad():
        logits, targets = flat.outputs(x, y)
    assert whole[1] == pytest.approx(functional.cross_entropy(logits, targets).item(), rel=1e-5)
    assert whole[0] == (logits.argmax(dim=1) == targets).double().mean().item()


def sentence() -> torch.Tensor:
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer.from_file(str(STORIES / "tokenizer.json"))
    text = "Once upon a time, there was a little girl named Lily. She loved to play outside."
    return torch.tensor([tokenizer.encode(text).ids], dtype=torch.int32)


@pytest.mark.skipif(not STORIES.exists(), reason="needs ../shared/data/stories260K-hf")
def test_a_real_language_model_predicts_english_and_learns_more(tmp_path: Path):
    x = sentence()
    y = torch.zeros(1, dtype=torch.int64)
    run = TinyRun(STORIES, NEXT_TOKEN, rank=4)
    flat = started(run)
    _, loss = measure(flat, run.layout.initial_vector(0), x, y)
    config = flat.model.config
    random = type(flat.model.get_base_model())(config)
    random.save_pretrained(tmp_path)
    noise = TinyRun(tmp_path, NEXT_TOKEN, rank=4)
    _, chance = measure(started(noise), noise.layout.initial_vector(0), x, y)
    assert chance == pytest.approx(np.log(512), rel=0.1)
    assert loss < 0.4 * chance
    start = flat.base + run.layout.initial_vector(0)
    flat.load(start)
    for client in range(5):
        step(run, flat, (x, y), client=client)
    assert measure(flat, flat.vector() - flat.base, x, y)[1] < 0.8 * loss


def test_a_shared_weight_is_no_backbone_that_a_server_can_change(folders: dict[str, Path]):
    """GPT-2's input embedding is its language head, too."""
    run = TinyRun(folders["gpt2"], NEXT_TOKEN, trains=MERGED, targets=("re:.*wte",))
    with pytest.raises(LayoutError, match=r"'transformer.wte' is also that of 'lm_head'"):
        build_flat_model(run, CPU)
