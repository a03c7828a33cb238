"""The bank against its slow twin: PEFT's model, each client in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import CASES, IMAGES, NEXT_TOKEN, TEXTS, TinyRun, examples, tiny_model
from torch.nn import functional

from floss_sim.training.bank.batched_sgd import Party, train_together
from floss_sim.training.bank.layers import BankHead, BankLinear, BatchSegments, Segments
from floss_sim.training.bank.model import build_bank_model
from floss_sim.training.local_sgd import Work, train_locally, work_of
from floss_sim.training.memory_bounds import example_bytes
from floss_sim.training.models.flat_model import build_flat_model

CPU = torch.device("cpu")
AGREE = 1e-4  # largest difference of an update, as a fraction of its largest entry
RATE = {"learning_rate": 0.02}  # at larger ones tiny random models amplify what rounding begins
# Examples of each client; batches of 4: steps of 4, 4, 1 and 4, 3 and 4, 3 and 4 and 2.
SIZES = (9, 7, 7, 4, 2)


def values_of(party: Party) -> np.ndarray:
    """Return what the clients of a party come to."""
    return train_together([party])[0].numpy()


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(params=CASES, ids="-".join)
def tiny(request: pytest.FixtureRequest, folders: dict[str, Path]) -> TinyRun:
    """LoRA on all targets, for each family and task."""
    family, kind = request.param
    return TinyRun(folders[family], kind)


def works_of(
    run: TinyRun, inputs, masks: bool = False, epochs: int = 1, steps: int | None = None
) -> list[Work]:
    """What five clients train, from values that all differ; the most work first."""
    draw = np.random.default_rng(3)
    x, _ = examples(run.kind, sum(SIZES))
    settings = run.client.model_copy(update={"epochs": epochs})
    parts = np.split(np.arange(sum(SIZES)), np.cumsum(SIZES)[:-1])
    works = []
    for client, part in enumerate(parts):
        start_N = draw.normal(scale=0.05, size=run.layout.entries).astype(np.float32)
        mask_N = draw.random(run.layout.entries) < 0.5 if masks and client != 1 else None
        names = ("client", client, "dispatch", 7)
        work = work_of(start_N, mask_N, part, x, inputs, settings, run.seed, names)
        works.append(replace(work, batches=work.batches[:steps]))
    return sorted(works, key=lambda work: -len(work.batches))


def both(run: TinyRun, **chosen) -> tuple[list[np.ndarray], list[np.ndarray], list[Work]]:
    """Return the updates of the bank, of its twin, and what was to be done."""
    data = examples(run.kind, sum(SIZES))
    bank, flat = build_bank_model(run, CPU), build_flat_model(run, CPU)
    works = works_of(run, bank.inputs, **chosen)
    settings = run.client.model_copy(update=RATE)
    together = values_of(Party(bank, *data, settings, works))
    in_turn = [train_locally(flat, *data, settings, work) for work in works]
    pairs = (zip(values, works, strict=True) for values in (together, in_turn))
    ours, theirs = ([work.start - value for value, work in pair] for pair in pairs)
    return ours, theirs, works


def assert_agree(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert np.abs(other).max() > 1e-4
        assert np.abs(one - other).max() <= AGREE * np.abs(other).max()


@pytest.mark.parametrize("trains", ["lora", "ffa", "square", "heads", "bitfit", "head"])
def test_ragged_clients_get_the_updates_of_the_sequential_twin(tiny: TinyRun, trains: str):
    biased = trains == "bitfit" and tiny.folder.name != "llama"
    if trains in ("head", "bitfit") and tiny.kind == NEXT_TOKEN and not biased:
        pytest.skip("there is no head, or no bias")
    ours, theirs, _ = both(replace(tiny, trains=trains, seed=5), epochs=2)
    assert_agree(ours, theirs)


def test_lora_dropout_draws_alike_and_really_drops(tiny: TinyRun):
    ours, theirs, _ = both(replace(tiny, dropout=0.4))
    assert_agree(ours, theirs)
    still, _, _ = both(tiny)
    assert all(
        np.abs(a - b).max() > 10 * AGREE * np.abs(b).max() for a, b in zip(ours, still, strict=True)
    )


@pytest.mark.parametrize(
    ("family", "kind", "rates"),
    [
        ("vit", IMAGES, {"hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.3}),
        ("bert", TEXTS, {"hidden_dropout_prob": 0.3}),
        ("bert", TEXTS, {"attention_probs_dropout_prob": 0.3}),
        ("gpt2", NEXT_TOKEN, {"resid_pdrop": 0.3, "embd_pdrop": 0.2, "attn_pdrop": 0.3}),
        ("llama", TEXTS, {"attention_dropout": 0.3}),
    ],
)
def test_the_backbones_own_dropouts_draw_alike(
    family: str, kind: str, rates: dict[str, float], tmp_path: Path
):
    tiny_model(family, **rates).save_pretrained(tmp_path)
    run = TinyRun(tmp_path, kind, dropout=0.2)
    ours, theirs, _ = both(run)
    assert_agree(ours, theirs)
    again, _, _ = both(replace(run, seed=1))
    assert not np.allclose(ours[0], again[0], rtol=0.1)


def test_dropout_is_the_same_where_activations_are_recomputed(tmp_path: Path):
    tiny_model("bert", hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.3).save_pretrained(
        tmp_path
    )
    run = TinyRun(tmp_path, TEXTS, dropout=0.2)
    kept, _, _ = both(run)
    again, theirs, _ = both(replace(run, checkpointing=True))
    assert_agree(again, kept)
    assert_agree(again, theirs)


def test_entries_outside_a_clients_own_mask_keep_their_bits(tiny: TinyRun):
    ours, theirs, works = both(tiny, masks=True)
    assert_agree(ours, theirs)
    for update_N, work in zip(ours, works, strict=True):
        outside_N = np.zeros(update_N.size, bool) if work.trained is None else ~work.trained
        assert not update_N[outside_N].any()
        assert update_N[~outside_N].any()


def test_bf16_agrees_as_far_as_bf16_goes(tiny: TinyRun):
    for trains in ("lora", "ffa"):
        run = replace(tiny, trains=trains)
        half, whole = both(replace(run, precision="bf16"), steps=1)[0], both(run, steps=1)[1]
        for one, other in zip(half, whole, strict=True):
            assert one.dtype == np.float32
            assert one @ other / np.linalg.norm(one) / np.linalg.norm(other) > 0.98


def test_a_client_whose_values_are_not_finite_spoils_no_other(tiny: TinyRun):
    data = examples(tiny.kind, sum(SIZES))
    bank = build_bank_model(tiny, CPU)
    works = works_of(tiny, bank.inputs)
    expected = values_of(Party(bank, *data, tiny.client, works))
    nothing = np.full_like(works[1].start, np.nan)
    broken = [*works[:1], replace(works[1], start=nothing), *works[2:]]
    found = values_of(Party(bank, *data, tiny.client, broken))
    assert np.isnan(found[1]).any()
    for index in (0, 2, 3, 4):
        assert np.array_equal(found[index], expected[index])


def test_two_passes_are_equal_bit_for_bit(tiny: TinyRun):
    run = replace(tiny, dropout=0.3)
    one, other = both(run)[0], both(run)[0]
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_bank_answers_as_its_twin_in_evaluation(tiny: TinyRun):
    run = replace(tiny, dropout=0.3)
    x, y = examples(run.kind, 11)
    vector = np.random.default_rng(2).normal(scale=0.3, size=run.layout.entries)
    answers = []
    for model in (build_bank_model(run, CPU), build_flat_model(run, CPU)):
        model.load(vector.astype(np.float32))
        with torch.no_grad():
            answers.append(model.outputs(x, y))
    assert torch.allclose(answers[0][0], answers[1][0], atol=1e-5)
    assert torch.equal(answers[0][1], answers[1][1])


def test_texts_without_anything_to_predict_are_no_steps(folders: dict[str, Path]):
    """A batch of one-token texts moves nobody, not by momentum either."""
    run = TinyRun(folders["gpt2"], NEXT_TOKEN)
    x, y = examples(NEXT_TOKEN, sum(SIZES))
    x[4:8, 1:] = -1
    x[9:12, 1:] = -1
    bank, flat = build_bank_model(run, CPU), build_flat_model(run, CPU)
    start_N = np.random.default_rng(1).normal(scale=0.2, size=run.layout.entries)
    work = Work(start_N.astype(np.float32), None, (), 0)
    cut = [np.arange(first, first + 4) for first in (0, 4, 8)]
    assert [bank.inputs.has_targets(x, batch) for batch in cut] == [True, False, True]
    works = [replace(work, batches=(cut[0], cut[2])), replace(work, batches=(cut[2],))]
    ours = values_of(Party(bank, x, y, run.client, works))
    theirs = [train_locally(flat, x, y, run.client, one) for one in works]
    steps = [[start_N - value for value in values] for values in (ours, theirs)]
    assert_agree(*steps)


def test_the_frozen_layers_see_all_clients_at_once_and_no_gradient_goes_below(
    folders: dict[str, Path],
):
    run = TinyRun(folders["vit"], IMAGES, targets=("q", "v"))
    bank = build_bank_model(run, CPU)
    seen, embedded = [], []
    layers = bank.bank.model.vit.layers
    layers[0].mlp.fc1.register_forward_hook(lambda _, x, y: seen.append(len(x[0])))
    bank.bank.model.vit.embeddings.register_forward_hook(
        lambda _, x, y: embedded.append(y.requires_grad)
    )
    values_of(Party(bank, *examples(IMAGES, sum(SIZES)), run.client, works_of(run, bank.inputs)))
    assert seen == [4 + 4 + 4 + 4 + 2, 4 + 3 + 3, 1]
    assert embedded == [False] * 3
    banked = [m for m in bank.bank.model.modules() if isinstance(m, (BankLinear, BankHead))]
    assert len(banked) == 2 * 2 + 1


def test_activations_are_within_their_bound(tiny: TinyRun):
    x, y = examples(tiny.kind, 24)
    bank = build_bank_model(tiny, CPU)
    values = torch.zeros(1, tiny.layout.entries)
    bank.bank.bind([(bank, values)], train=True)
    weights = [values, *bank.bank.model.parameters()]
    own = {tensor.untyped_storage().data_ptr() for tensor in weights}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits, targets = bank.outputs(x, y)
        loss = functional.cross_entropy(logits, targets)
    assert loss.requires_grad
    assert sum(kept.values()) <= len(x) * example_bytes(tiny) <= 10 * sum(kept.values())


def test_neighbours_with_equally_many_examples_share_a_product():
    segments = Segments((4, 4, 3, 1, 1))
    assert [(run.clients, run.examples) for run in segments.runs] == [
        (slice(0, 2), slice(0, 8)),
        (slice(2, 3), slice(8, 11)),
        (slice(3, 5), slice(11, 13)),
    ]


@pytest.mark.parametrize("shared", [False, True])
def test_the_adapters_gradient_is_that_of_plain_autograd(shared: bool):
    torch.manual_seed(0)
    sizes, shape = (3, 3, 2), (3, 5)  # ranks and inputs
    base, batch = torch.nn.Linear(5, 4).double(), BatchSegments()
    batch.parties = [Segments(sizes, scale=0.7)]
    layer = BankLinear(base.requires_grad_(False), torch.nn.Identity(), batch)
    leaf = torch.randn(shape if shared else (3, *shape), dtype=torch.float64)
    a = leaf.requires_grad_(not shared)
    b = torch.randn(3, 4, 3, dtype=torch.float64, requires_grad=True)
    layer.a, layer.b = [a], [b]
    x = torch.randn(8, 2, 5, dtype=torch.float64, requires_grad=True)

    def plain() -> torch.Tensor:
        parts = zip(x.split(list(sizes)), [a] * 3 if shared else a, b, strict=True)
        return torch.cat([base(part) + 0.7 * part @ one.T @ other.T for part, one, other in parts])

    assert torch.allclose(layer(x), plain())
    wanted = [x, b] if shared else [x, a, b]
    weight = torch.randn(8, 2, 4, dtype=torch.float64)
    ours = torch.autograd.grad((layer(x) * weight).sum(), wanted)
    theirs = torch.autograd.grad((plain() * weight).sum(), wanted)
    assert all(torch.allclose(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("bias", [False, True])
def test_the_heads_gradient_is_that_of_plain_autograd(bias: bool):
    torch.manual_seed(0)
    sizes, batch = (3, 3, 2), BatchSegments()
    batch.parties = [Segments(sizes[:2]), Segments(sizes[2:], first=6)]
    head = BankHead(batch)
    weight = torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True)
    biases = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    head.weight = [weight[:2], weight[2:]]
    head.bias = [biases[:2], biases[2:]] if bias else []
    x = torch.randn(8, 2, 5, dtype=torch.float64, requires_grad=True)

    def plain() -> torch.Tensor:
        parts = zip(x.split(list(sizes)), weight, biases if bias else [None] * 3, strict=True)
        return torch.cat([functional.linear(*part) for part in parts])

    assert torch.allclose(head(x), plain())
    wanted = [x, weight, biases] if bias else [x, weight]
    upstream = torch.randn(8, 2, 4, dtype=torch.float64)
    ours = torch.autograd.grad((head(x) * upstream).sum(), wanted)
    theirs = torch.autograd.grad((plain() * upstream).sum(), wanted)
    assert all(torch.allclose(a, b) for a, b in zip(ours, theirs, strict=True))


def test_without_momentum_the_twins_agree_too(tiny: TinyRun, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(RATE, "momentum", 0.0)
    ours, theirs, _ = both(tiny, epochs=2)
    assert_agree(ours, theirs)


def test_the_bases_of_the_twins_are_the_pretrained_biases(folders: dict[str, Path]):
    run = TinyRun(folders["bert"], TEXTS, trains="bitfit")
    bank, flat = build_bank_model(run, CPU), build_flat_model(run, CPU)
    biases = np.concatenate(
        [np.full(t.size, not t.name.startswith("head.")) for t in run.layout.tensors]
    )
    assert np.array_equal(bank.base[biases], flat.base[biases])
    assert bank.base[biases].all()
    assert not bank.base[~biases].any()
