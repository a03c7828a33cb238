"""The last layer that computes one token, against the same bank that computes all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from parties import values_of
from tiny_models import CASES, IMAGES, TEXTS, TinyRun, examples, tiny_model
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers.models.bert.modeling_bert import BertLayer, BertSelfAttention
from transformers.models.vit.modeling_vit import ViTLayer

from floss_sim.training.bank import model as bank_model
from floss_sim.training.bank.batched_sgd import Party
from floss_sim.training.bank.first_token import read_first_token
from floss_sim.training.bank.model import Bank, build_bank, build_bank_model
from floss_sim.training.local_sgd import work_of
from floss_sim.training.models.dropout import DropoutStreams, Share
from floss_sim.vectors.top_k import Vector

CPU = torch.device("cpu")
READS = [("vit", IMAGES), ("bert", TEXTS)]
DROPS = {"hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.3}
# What trains: (examples of each client, settings of the run), party after party.
PARTIES = [((9, 7, 2), {}), ((4, 3), {"rank": 5, "seed": 1}), ((1,), {"rank": 1, "seed": 2})]
AGREE = 1e-5


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def saved(folder: Path, family: str, **changes: object) -> Path:
    tiny_model(family, **changes).save_pretrained(folder)
    return folder


def layers(model: nn.Module) -> Sequence[nn.Module]:
    return model.vit.layers if hasattr(model, "vit") else model.bert.encoder.layer


def party_of(run: TinyRun, bank: Bank, sizes: Sequence[int]) -> Party:
    draw = np.random.default_rng(run.seed)
    x, y = examples(run.kind, sum(sizes))
    works = []
    for client, part in enumerate(np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])):
        start_N = draw.normal(scale=0.05, size=run.layout.entries).astype(np.float32)
        names = ("client", client, "dispatch", 7)
        works.append(work_of(start_N, None, part, x, bank.inputs, run.client, run.seed, names))
    return Party(build_bank_model(run, CPU, bank), x, y, run.client, works)


def updates(run: TinyRun, bank: Bank, parties: int = 1) -> list[Vector]:
    """Return what local training changes of each client's values."""
    chosen = [
        party_of(replace(run, **own) if own else run, bank, sizes)
        for sizes, own in PARTIES[:parties]
    ]
    trained = values_of(chosen)
    return [
        work.start - values
        for party, found in zip(chosen, trained, strict=True)
        for work, values in zip(party.works, found, strict=True)
    ]


def whole_bank(run: TinyRun) -> Bank:
    """Return the bank whose last layer computes all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bank_model, "read_first_token", lambda *_: None)
        return build_bank(run, CPU)


def assert_same_updates(run: TinyRun, parties: int = 1, agree: float = AGREE) -> None:
    ours, theirs = (updates(run, bank, parties) for bank in (build_bank(run, CPU), whole_bank(run)))
    for one, other in zip(ours, theirs, strict=True):
        assert np.abs(one - other).max() <= agree * np.abs(other).max()


@pytest.mark.parametrize(("family", "kind"), READS)
def test_the_last_layer_computes_one_token_and_the_others_all(
    family: str, kind: str, tmp_path: Path
):
    bank = build_bank(TinyRun(saved(tmp_path, family), kind), CPU)
    once, all_of_them = ("q_proj", "query", "fc2", "intermediate"), ("k_proj", "value")
    tokens: dict[tuple[int, str], set[int]] = {}
    for number, layer in enumerate(layers(bank.model)):
        for path, module in layer.named_modules():
            if path.endswith(once + all_of_them):
                seen = tokens.setdefault((number, path), set())
                module.register_forward_hook(lambda _, x, y, seen=seen: seen.add(x[0].shape[1]))
    updates(TinyRun(tmp_path, kind), bank)
    assert len(tokens) == 6
    for (number, path), seen in tokens.items():
        assert seen == {1} if number and path.endswith(once) else min(seen) > 1


@pytest.mark.parametrize(("family", "kind"), READS)
@pytest.mark.parametrize("trains", ["lora", "ffa", "bitfit", "head"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_updates_are_those_of_the_bank_that_computes_all(
    family: str, kind: str, trains: str, checkpointing: bool, tmp_path: Path
):
    run = TinyRun(saved(tmp_path, family, **DROPS), kind, trains, checkpointing=checkpointing)
    assert_same_updates(replace(run, dropout=0.4), parties=1 if trains == "bitfit" else 3)


@pytest.mark.parametrize(("family", "kind"), READS)
@pytest.mark.parametrize("role", ["q", "k", "v", "o", "mlp_in", "mlp_out"])
def test_each_target_alone_gets_its_updates(family: str, kind: str, role: str, tmp_path: Path):
    run = TinyRun(saved(tmp_path, family), kind, targets=(role,), dropout=0.4)
    assert_same_updates(run, parties=2)


@pytest.mark.parametrize(("family", "kind"), READS)
def test_bf16_rounds_a_token_alone_as_it_does_among_all(family: str, kind: str, tmp_path: Path):
    run = TinyRun(saved(tmp_path, family, **DROPS), kind, dropout=0.4, precision="bf16")
    ours, theirs = (updates(run, bank) for bank in (build_bank(run, CPU), whole_bank(run)))
    for one, other in zip(ours, theirs, strict=True):
        assert one @ other / np.linalg.norm(one) / np.linalg.norm(other) > 0.99


@pytest.mark.parametrize(("family", "kind"), READS)
def test_the_last_layer_is_recomputed_where_that_is_asked_for(
    family: str, kind: str, tmp_path: Path
):
    run = TinyRun(saved(tmp_path, family), kind)
    calls = []
    for checkpointing in (False, True):
        bank, seen = build_bank(replace(run, checkpointing=checkpointing), CPU), []
        inside = layers(bank.model)[-1].attention
        key = inside.k_proj if family == "vit" else inside.self.key
        key.register_forward_hook(lambda *_, seen=seen: seen.append(1))
        updates(run, bank)
        calls.append(len(seen))
    assert calls[1] == 2 * calls[0] > 0


@pytest.mark.parametrize(("family", "kind"), READS)
def test_answers_are_those_of_the_bank_that_computes_all(family: str, kind: str, tmp_path: Path):
    run = TinyRun(saved(tmp_path, family, **DROPS), kind, dropout=0.4)
    x, y = examples(kind, 11)
    values = np.random.default_rng(2).normal(scale=0.3, size=run.layout.entries)
    answers = []
    for bank in (build_bank(run, CPU), whole_bank(run)):
        model = build_bank_model(run, CPU, bank)
        model.load(values.astype(np.float32))
        with torch.no_grad():
            answers.append(model.outputs(x, y)[0])
    assert torch.allclose(*answers, atol=1e-6)


@pytest.mark.parametrize("lengths", [(None, None), (5, 3)])
def test_a_first_token_alone_drops_as_it_does_among_all(lengths: tuple[int | None, ...]):
    draws = DropoutStreams(CPU)
    draws.set_shares([Share(2, 11, lengths[0]), Share(3, 12, lengths[1])])
    tokens = torch.ones(5, 5, 8)
    weights = torch.ones(5, 2, 5, 5)
    among = draws.factors(tokens, 0.5, 3, (1,)), draws.factors(weights, 0.5, 4, (2, 3))
    with draws.draw_for(5):
        alone = (
            draws.factors(tokens[:, :1], 0.5, 3, (1,)),
            draws.factors(weights[:, :, :1], 0.5, 4, (2, 3)),
        )
        again = draws.factors(tokens, 0.5, 3, (1,))
    assert torch.equal(alone[0], among[0][:, :1])
    assert torch.equal(alone[1], among[1][:, :, :1])
    assert torch.equal(again, among[0])
    assert 0 < alone[0].count_nonzero() < alone[0].numel()
    draws.set_shares([Share(5, 11)])
    before = DropoutStreams(CPU)
    before.set_shares([Share(5, 11)])
    left, plain = (one.factors(tokens[:, :1], 0.5, 3, (1,)) for one in (draws, before))
    assert torch.equal(left, plain)


class OtherLayer(ViTLayer):
    pass


class OtherAttention(BertSelfAttention):
    pass


def with_other_layer() -> PreTrainedModel:
    model = tiny_model("vit")
    model.vit.layers[-1].__class__ = OtherLayer
    return model


def text_model(folder: Path, family: str, **changes: object) -> PreTrainedModel:
    return AutoModelForSequenceClassification.from_pretrained(saved(folder, family), **changes)


def with_other_attention(folder: Path) -> PreTrainedModel:
    model = text_model(folder, "bert")
    model.bert.encoder.layer[-1].attention.self.__class__ = OtherAttention
    return model


def with_older_names() -> PreTrainedModel:
    model = tiny_model("vit")
    model.vit.layers[-1].attention.query = model.vit.layers[-1].attention.q_proj
    del model.vit.layers[-1].attention.q_proj
    return model


def test_what_is_not_known_stays_as_it_is(tmp_path: Path):
    models = [
        with_other_layer(),
        with_older_names(),
        with_other_attention(tmp_path),
        text_model(tmp_path, "bert", is_decoder=True),  # its first token sees no other
        text_model(tmp_path, "bert", attn_implementation="eager"),
        *(tiny_model(family) for family in ("gpt2", "llama", "bert")),
        *(text_model(tmp_path, family) for family in ("gpt2", "llama")),
    ]
    for model in models:
        before = [(name, type(module)) for name, module in model.named_modules()]
        read_first_token(model, DropoutStreams(CPU))
        assert before == [(name, type(module)) for name, module in model.named_modules()]


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_only_what_reads_its_first_token_is_changed(family: str, kind: str, tmp_path: Path):
    run = TinyRun(saved(tmp_path, family), kind)
    ours, theirs = build_bank(run, CPU).model, whole_bank(run).model
    changed = [
        (type(a).__mro__[1], name)
        for (name, a), b in zip(ours.named_modules(), theirs.modules(), strict=True)
        if type(a) is not type(b)
    ]
    expected = {"vit": [(ViTLayer, "vit.layers.1")], "bert": [(BertLayer, "bert.encoder.layer.1")]}
    assert changed == expected.get(family, [])
