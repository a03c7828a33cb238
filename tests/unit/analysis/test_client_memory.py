"""Memory of a client, against the peak that torch's allocator reports of real steps."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from counted_models import IMAGES, NEXT_TOKEN, TEXTS, CountedModel
from memory_peaks import peak_of_step

from floss_sim.analysis.client_memory import ClientMemory, client_memory
from floss_sim.families.adapter_settings import AdapterSettings
from floss_sim.families.model_table import ModelTable
from floss_sim.families.trained_tensors import TrainedModel, TrainedTensor

WITHIN = 0.15  # relative error that an estimate may have
SIZES = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4,
         "intermediate_size": 512, "vocab_size": 2000}  # fmt: skip
PIXELS = {name: size for name, size in SIZES.items() if name != "vocab_size"}
PIXELS |= {"image_size": 64, "patch_size": 8}
GROUPED = {**SIZES, "num_key_value_heads": 2}
GPT2 = {"n_embd": 128, "n_layer": 4, "n_head": 4, "vocab_size": 2000, "n_positions": 128}
MINILM = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
          "intermediate_size": 1536, "vocab_size": 30522}  # fmt: skip
SPECIAL_TOKENS = {f"{name}_token_id": 1 for name in ("bos", "eos", "cls", "sep", "pad")}


def adapters(*targets: str, **settings) -> AdapterSettings:
    return AdapterSettings(rank=8, targets=targets, **settings)


QV = adapters("q", "v")
CASES = {
    "minilm": CountedModel("bert", TEXTS, MINILM, QV, tokens=128, batch=4),
    "bert": CountedModel("bert", TEXTS, SIZES, QV, tokens=64, batch=8),
    "bert, last layer": CountedModel(
        "bert", TEXTS, SIZES, adapters("q", "v", depth=1), tokens=64, batch=8
    ),
    "bert, all matrices": CountedModel("bert", TEXTS, SIZES, adapters("all"), tokens=64, batch=8),
    "modernbert": CountedModel(
        "modernbert", TEXTS, SIZES | SPECIAL_TOKENS, adapters("qkv"), tokens=64, batch=8
    ),
    "gpt2": CountedModel("gpt2", NEXT_TOKEN, GPT2, adapters("qkv"), tokens=64, batch=8),
    "llama": CountedModel("llama", NEXT_TOKEN, GROUPED, QV, tokens=64, batch=8),
    "llama, last layer": CountedModel(
        "llama", NEXT_TOKEN, GROUPED, adapters("q", "v", depth=1), tokens=64, batch=8
    ),
    "llama, DoRA": CountedModel(
        "llama", NEXT_TOKEN, GROUPED, adapters("q", "v", dora=True), tokens=64, batch=8
    ),
    "llama, dropout": CountedModel(
        "llama", NEXT_TOKEN, GROUPED, QV, tokens=64, batch=8, dropout=0.1
    ),
    "gemma3": CountedModel(
        "gemma3_text", NEXT_TOKEN, {**GROUPED, "head_dim": 64}, QV, tokens=64, batch=4
    ),
    "mixtral": CountedModel(
        "mixtral", NEXT_TOKEN, {**GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2}, QV,
        tokens=64, batch=8,
    ),
    "vit": CountedModel("vit", IMAGES, PIXELS, QV, tokens=65, batch=8),
}  # fmt: skip


def estimated(case: CountedModel, precision: str = "fp32", **settings) -> ClientMemory:
    return client_memory(
        case.task_model.full_table(), case.config, case.trained, case.batch, case.tokens,
        precision, dropout=bool(case.dropout), **settings,
    )  # fmt: skip


CHECKPOINTED = ("bert", "gpt2", "llama", "llama, last layer", "vit")


@pytest.mark.parametrize("name", CASES)
def test_estimates_are_near_the_measured_peak(name: str):
    made, peak = estimated(CASES[name]), peak_of_step(CASES[name])
    assert made.weights + made.trained == peak.weights
    assert made.gradients + made.optimiser == peak.held
    assert made.activations == pytest.approx(peak.activations, rel=WITHIN)
    assert made.total == pytest.approx(peak.total, rel=WITHIN)


@pytest.mark.parametrize("name", CHECKPOINTED)
def test_estimates_with_checkpointing_are_near_the_measured_peak(name: str):
    case = CASES[name]
    made, peak = estimated(case, checkpointing=True), peak_of_step(case, checkpointing=True)
    assert made.activations == pytest.approx(peak.activations, rel=WITHIN)


def test_an_activation_of_a_precision_takes_its_bytes():
    case = CASES["vit"]
    whole = estimated(case)
    for precision, part in (("bf16", 2), ("int8", 2), ("int4", 2)):
        assert estimated(case, precision).activations * part == whole.activations
    matrices = 4 * 4 * (4 * 128 * 128 + 2 * 128 * 512)  # bytes of the layers' matrices in fp32
    rest = whole.weights - matrices
    weights = {p: estimated(case, p).weights for p in ("bf16", "int8", "int4")}
    assert weights == {
        "bf16": (matrices + rest) // 2,
        "int8": matrices // 4 + rest // 2,
        "int4": matrices // 8 + rest // 2,
    }


def test_checkpointing_keeps_the_inputs_of_layers_and_one_layer():
    case = CASES["vit"]
    whole, again = estimated(case), estimated(case, checkpointing=True)
    tokens = case.batch * case.tokens
    kept = 4 * tokens * (7 * 128 + 512 + 2 * 8)  # q, k, v, attended, two norms, A's input; MLP
    assert whole.activations - again.activations == 3 * kept - 4 * (4 * tokens * 128)


def test_layers_below_the_first_adapter_keep_nothing():
    case = CASES["llama"]
    parts = [
        estimated(replace(case, adapters=adapters("q", "v", depth=depth))).activations
        for depth in (1, 2, 3, 4)
    ]
    steps = [b - a for a, b in pairwise(parts)]
    assert len(set(steps)) == 1
    assert steps[0] > 0


def test_tokens_that_are_predicted_need_their_logits_three_times():
    case = CASES["llama, last layer"]
    more = {**GROUPED, "vocab_size": 4000}
    grown = estimated(replace(case, sizes=more)).activations - estimated(case).activations
    assert grown == 12 * case.batch * case.tokens * 2000


@pytest.mark.parametrize(
    ("config", "heads"),
    [
        ({"num_attention_heads": 4}, 4), ({"n_head": 3}, 3), ({"n_heads": 5}, 5),
        ({"encoder_attention_heads": 7}, 7),
        ({"num_heads": [3, 6]}, 6), ({"vision_config": {"num_attention_heads": 8}}, 8), ({}, 1),
    ],
)  # fmt: skip
def test_heads_are_found_in_configs_of_all_families(config, heads):
    table = ModelTable("t", {"m.layers.0.q.weight": (1, 1)}, {"m.layers.0.q": "linear"})
    trained = TrainedModel("t", 1, (), (TrainedTensor("m.layers.0.q", "lora_B", (1, 1)),))
    dropped = {**config, "attention_dropout": 0.1}
    made = client_memory(table, dropped, trained, batch=1, tokens=1, precision="fp32")
    assert made.activations == 4 * (1 + 3 * heads + 2 + 1)  # queries, rows, adapter; gradients
