"""Operations of a local step, against torch's own count on real forward and backward passes."""

from __future__ import annotations

import warnings

import pytest
from counted_models import IMAGES, NEXT_TOKEN, TEXTS, CountedModel
from torch.utils.flop_counter import FlopCounterMode

from floss_sim.analysis.backbone_lookup import backbone_model
from floss_sim.families.adapter_settings import AdapterSettings
from floss_sim.families.operations import Operations, count_operations

WITHIN = 0.02  # relative error that the count may have
SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
         "intermediate_size": 48, "vocab_size": 3000}  # fmt: skip
GPT2 = {"n_embd": 32, "n_layer": 3, "n_head": 4, "vocab_size": 3000, "n_positions": 64}
PIXELS = {name: size for name, size in SIZES.items() if name != "vocab_size"}
PIXELS |= {"image_size": 32, "patch_size": 8}
TOKENS_OF_IMAGE = 17
SPECIAL_TOKENS = {f"{name}_token_id": 1 for name in ("bos", "eos", "cls", "sep", "pad")}


def adapters(*targets: str, **settings) -> AdapterSettings:
    return AdapterSettings(rank=4, targets=targets, **settings)


def grouped(heads: int, **sizes) -> dict[str, int]:
    return {**SIZES, "num_key_value_heads": heads, **sizes}


CASES = {
    "bert": CountedModel("bert", TEXTS, SIZES, adapters("q", "v")),
    "bert, last layer": CountedModel("bert", TEXTS, SIZES, adapters("all", depth=1)),
    "bert, DoRA": CountedModel("bert", TEXTS, SIZES, adapters("v", dora=True)),
    "bert, DoRA with dropout": CountedModel(
        "bert", TEXTS, SIZES, adapters("v", dora=True), dropout=0.1
    ),
    "roberta": CountedModel(
        "roberta", TEXTS, {**SIZES, "max_position_embeddings": 64}, adapters("q", "v")
    ),
    "albert": CountedModel(
        "albert", TEXTS, {**SIZES, "embedding_size": 16}, adapters("q", "v")
    ),
    "modernbert, two layers": CountedModel(
        "modernbert", TEXTS,
        SIZES | SPECIAL_TOKENS,
        adapters("qkv", depth=2)),
    "gpt2": CountedModel("gpt2", NEXT_TOKEN, GPT2, adapters("qkv")),
    "gpt2, texts": CountedModel("gpt2", TEXTS, GPT2, adapters("mlp_in", dora=True)),
    "llama, grouped keys": CountedModel("llama", NEXT_TOKEN, grouped(2), adapters("q", "v")),
    "llama, last layer": CountedModel("llama", NEXT_TOKEN, grouped(2), adapters("o", depth=1)),
    "qwen2, biases": CountedModel(
        "qwen2", NEXT_TOKEN, grouped(2), adapters("v", bias="all", depth=1)
    ),
    "gemma3": CountedModel("gemma3_text", NEXT_TOKEN, grouped(1, head_dim=16), adapters("q", "v")),
    "mixtral, experts": CountedModel(
        "mixtral", NEXT_TOKEN, grouped(2, num_local_experts=4, num_experts_per_tok=2),
        adapters("q", "v")),
    "phi, attention beside the MLP": CountedModel(
        "phi", NEXT_TOKEN, SIZES, adapters("mlp_in", depth=2)
    ),
    "swin, stages with windows": CountedModel(
        "swin", IMAGES,
        {"image_size": 64, "patch_size": 4, "embed_dim": 32, "depths": [2, 2],
         "num_heads": [2, 4], "window_size": 4},
        adapters("q", "v"), tokens=257),
    "convnext, stages": CountedModel(
        "convnext", IMAGES,
        {"image_size": 64, "patch_size": 4, "hidden_sizes": [16, 32, 64], "depths": [2, 2, 1],
         "num_stages": 3},
        adapters("all"), tokens=257),
    "vit": CountedModel("vit", IMAGES, PIXELS, adapters("q", "v"), tokens=TOKENS_OF_IMAGE),
    "dinov2": CountedModel(
        "dinov2", IMAGES, PIXELS, adapters("all", depth=2), tokens=TOKENS_OF_IMAGE
    ),
}  # fmt: skip


def counted(case: CountedModel) -> Operations:
    return count_operations(
        case.task_model.full_table(), case.config, case.trained.tensors, case.tokens,
        dropout=bool(case.dropout),
    )  # fmt: skip


def measured(case: CountedModel) -> tuple[int, int]:
    """Return the library's count of the forward and of the backward pass of a batch."""
    model = case.model()
    model.config._experts_implementation = "eager"  # grouped products are not counted by torch
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with FlopCounterMode(display=False) as forward:
            loss = model(**case.inputs()).loss
        with FlopCounterMode(display=False) as backward:
            loss.backward()
    return forward.get_total_flops(), backward.get_total_flops()


@pytest.mark.parametrize("name", CASES)
def test_operations_are_those_that_torch_counts(name: str):
    case = CASES[name]
    made, (forward, backward) = counted(case), measured(case)
    assert case.batch * made.forward + made.per_step == pytest.approx(forward, rel=WITHIN)
    assert case.batch * made.backward == pytest.approx(backward, rel=WITHIN)
    assert made.of_step(case.batch) == pytest.approx(forward + backward, rel=WITHIN)


def test_checkpointing_computes_the_layers_with_a_backward_pass_again():
    model = backbone_model("minilm-l6", "text-classification", 2)
    table, settings = model.full_table(), AdapterSettings(rank=4, targets=("q", "v"), depth=2)
    trained = model.trained_model(settings).tensors
    plain = count_operations(table, model.config, trained, 64)
    again = count_operations(table, model.config, trained, 64, checkpointing=True)
    layer = 2 * 64 * (4 * 384**2 + 2 * 384 * 1536) + 4 * 64**2 * 384 + 2 * 2 * 64 * 2 * 4 * 384
    assert again.backward - plain.backward == 2 * layer
    assert again.forward == plain.forward


def test_fewer_layers_shorter_texts_and_lower_ranks_take_fewer_operations():
    model = backbone_model("qwen2.5-0.5b")

    def of(tokens: int = 128, **settings) -> float:
        made = AdapterSettings(targets=("q", "v"), **settings)
        trained = model.trained_model(made).tensors
        return count_operations(model.full_table(), model.config, trained, tokens).of_example

    whole = of(rank=16)
    assert of(rank=4) < whole < of(rank=64)
    assert of(rank=16, depth=4) < of(rank=16, depth=12) < whole
    assert of(tokens=64, rank=16) < whole / 2
