"""Trained tensors by arithmetic, compared with those of PEFT on the model library's own models."""

import warnings

import pytest
from library_configs import default_config

from floss_sim.errors import LayoutError
from floss_sim.families import IMAGES, NEXT_TOKEN, TEXTS
from floss_sim.families.adapter_settings import AdapterSettings
from floss_sim.families.model_table import ModelTable
from floss_sim.families.packaged import packaged_backbone, packaged_backbones
from floss_sim.families.trained_model import model_of_table
from floss_sim.families.trained_tensors import trained_tensors
from floss_sim.vectors.adapter_layout import adapter_layout
from floss_sim.vectors.layout import build_layout

FAMILIES = {
    NEXT_TOKEN: "mistral qwen2 qwen3 gemma gemma2 gemma3_text phi phi3 olmo2 smollm3 gpt_neox opt "
    "bloom falcon gpt2 llama t5 bart whisper llava qwen3_5",
    TEXTS: "bart roberta distilbert deberta-v2 modernbert albert electra bert mpnet qwen2 gpt2",
    IMAGES: "deit dinov2 swin clip siglip vit beit convnext",
}
SETTINGS = (
    {"targets": ("all-linear",), "dora": True, "rank": 4},
    {"targets": ("all-linear",), "bias": "all", "rank": 4},
    {"targets": ("mlp_out",), "rank_pattern": {r".*\.1\..*": 3, ".*": 2}, "rank": 8},
    {"targets": ("qkv",), "depth": 2, "bias": "lora_only", "dora": True},
    {"targets": ("q", "v"), "layers": (0, 1), "lora_bias": True},
)


def sorted_rows(tensors):
    return sorted((tensor.module, tensor.part, tensor.shape) for tensor in tensors)


@pytest.mark.parametrize(
    ("kind", "family"), [(kind, name) for kind, names in FAMILIES.items() for name in names.split()]
)
def test_arithmetic_equals_peft_in_every_family(kind, family):
    from floss_sim.families.from_library import model_table, peft_model

    config, labels = default_config(family), 0 if kind == NEXT_TOKEN else 5
    table = model_table(config, kind).with_labels(labels)
    compared = 0
    for settings in (AdapterSettings(**given) for given in SETTINGS):
        try:
            ours = trained_tensors(table, settings)
        except LayoutError as error:
            assert "matches no module" in str(error) or "layer" in str(error)
            continue
        assert sorted_rows(ours) == sorted_rows(peft_model(config, kind, labels, settings).tensors)
        compared += 1
    assert compared >= 2


@pytest.mark.parametrize("name", packaged_backbones())
def test_packaged_tables_are_those_of_the_library(name):
    from floss_sim.families.from_library import model_table

    backbone = packaged_backbone(name)
    for kind, table in backbone.tables.items():
        assert model_table(backbone.config, kind) == table


@pytest.mark.parametrize("name", packaged_backbones())
def test_packaged_tables_have_the_published_number_of_parameters(name):
    backbone = packaged_backbone(name)
    table = next(iter(backbone.tables.values())).with_labels(3)
    head = {parameter for path in table.head for parameter in table.below(path)}
    without = {n: shape for n, shape in table.parameters.items() if n not in head}
    entries = 0
    for shape in without.values():
        size = 1
        for side in shape:
            size *= side
        entries += size
    assert entries == backbone.parameters


ROLES = {"vit": "q k v o mlp_in mlp_out", "bert": "q k v o mlp_in mlp_out",
         "gpt2": "qkv o mlp_in mlp_out", "llama": "q k v o mlp_gate mlp_in mlp_out"}  # fmt: skip


@pytest.mark.parametrize("name", ["vit-base-16", "minilm-l6", "gpt2", "smollm2-135m"])
def test_known_families_keep_their_layouts(name):
    backbone = packaged_backbone(name)
    for kind, table in backbone.tables.items():
        labels = 0 if kind == NEXT_TOKEN else 6
        for targets in (*((role,) for role in ROLES[table.model_type].split()), ("all",)):
            old = build_layout(
                backbone.config, trains="lora", targets=targets, rank=8, labels=labels
            )
            new = model_of_table(table, labels, AdapterSettings(rank=8, targets=targets))
            assert adapter_layout(new) == old


SMALL = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 4,
         "intermediate_size": 24}  # fmt: skip
TOKENS = {**SMALL, "vocab_size": 40}
OWN_CONFIGS = [
    (IMAGES, {"model_type": "vit", **SMALL, "image_size": 8, "patch_size": 4}),
    (IMAGES, {"model_type": "vit", **SMALL, "qkv_bias": False}),
    (TEXTS, {"model_type": "bert", **TOKENS}),
    (TEXTS, {"model_type": "gpt2", "n_layer": 2, "n_embd": 16, "n_head": 4, "vocab_size": 40}),
    (NEXT_TOKEN, {"model_type": "gpt2", "n_layer": 1, "n_embd": 16, "n_head": 4, "vocab_size": 40,
                  "n_inner": 20}),
    (NEXT_TOKEN, {"model_type": "llama", **TOKENS, "num_key_value_heads": 2, "head_dim": 6}),
    (TEXTS, {"model_type": "llama", **TOKENS, "attention_bias": True, "mlp_bias": True}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "config"), OWN_CONFIGS)
def test_runs_of_known_families_train_the_tensors_of_peft(kind, config):
    from floss_sim.families.from_library import peft_model

    labels = 0 if kind == NEXT_TOKEN else 3
    for targets in (("o", "mlp_out"), ("all",)):
        of_a_run = build_layout(config, trains="lora", targets=targets, rank=3, labels=labels)
        of_peft = peft_model(config, kind, labels, AdapterSettings(rank=3, targets=targets))
        assert adapter_layout(of_peft) == of_a_run


# Published logs of federated fine-tuning: MiB of all messages, 4 bytes an entry and 128 a tensor.
LOGS = [
    ("smollm2-135m", 8, True, "q,v", 2, 100, 747.07),
    ("smollm2-360m", 8, True, "q,v", 2, 100, 1321.88),
    ("smollm2-360m", 8, True, "q,v", 2, 300, 3965.62),
    ("phi-4-mini", 16, True, "qkv_proj,gate_up_proj,o_proj,down_proj", 2, 10, 3656.88),
    ("qwen2.5-0.5b", 16, True, "down_proj,o_proj", 6, 30, 4047.89),
    ("qwen2.5-1.5b", 16, True, "down_proj,o_proj", 4, 20, 3765.78),
    ("qwen2.5-7b", 16, True, "down_proj,o_proj", 2, 10, 2061.45),
    ("qwen3-0.6b", 8, True, "all-linear", 4, 50, 8253.71),
    ("qwen3-4b", 8, True, "all-linear", 2, 20, 5384.88),
    ("qwen3-8b", 8, True, "all-linear", 2, 10, 3547.44),
    ("smollm2-1.7b", 16, True, "down_proj,o_proj", 4, 100, 17114.06),
    ("mistral-7b", 32, False, "q,v", 2, 200, 40.64 * 1024),
    ("llama-3.2-3b", 32, False, "q,v", 2, 200, 27.35 * 1024),
]


@pytest.mark.parametrize(("name", "rank", "dora", "targets", "clients", "rounds", "mib"), LOGS)
def test_bytes_of_published_runs(name, rank, dora, targets, clients, rounds, mib):
    settings = AdapterSettings(rank=rank, dora=dora, targets=tuple(targets.split(",")))
    tensors = trained_tensors(packaged_backbone(name).tables[NEXT_TOKEN], settings)
    message = 4 * sum(tensor.entries for tensor in tensors) + 128 * len(tensors)

    found, digits = 2 * clients * rounds * message / 2**20, 2
    if mib > 20_000:  # published in GiB
        found, mib = found / 1024, mib / 1024
    assert round(found, digits) == round(mib, digits)


@pytest.mark.parametrize(("rank", "nbytes"), [(4, 1_486_080), (8, 2_960_640), (16, 5_909_760)])
def test_bytes_of_uploads_of_real_phones(rank, nbytes):
    settings = AdapterSettings(rank=rank, targets=("q", "k", "v", "o"))
    tensors = trained_tensors(packaged_backbone("gemma-3-270m").tables[NEXT_TOKEN], settings)

    assert len(tensors) == 144
    assert 4 * sum(tensor.entries for tensor in tensors) + 80 * len(tensors) == nbytes


LLAMA = {
    "model_type": "llama", "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 12, "vocab_size": 20,
}  # fmt: skip


GEMMA = {"model_type": "gemma3", "vision_config": {"hidden_size": 8}}


def without(config, name):
    return {key: value for key, value in config.items() if key != name}


@pytest.mark.parametrize(
    ("config", "kind", "said"),
    [
        ({"model_type": "nothing"}, NEXT_TOKEN, "no model type 'nothing'"),
        ({"model_type": "x", "auto_map": {}}, NEXT_TOKEN, "no model type 'x'"),
        ({"model_type": "x", "auto_map": {"a": "b"}}, NEXT_TOKEN, "with its own code"),
        ({}, NEXT_TOKEN, "the config has no model_type"),
        ({"model_type": ["llama"]}, NEXT_TOKEN, "no model type"),
        ({"model_type": "vit"}, TEXTS, "a vit backbone does not support text-classification"),
        ({**LLAMA, "hidden_size": "x"}, NEXT_TOKEN, "cannot build a next-token model of llama"),
        ({**LLAMA, "hidden_size": -1}, NEXT_TOKEN, "cannot build a next-token model of llama"),
        ({**LLAMA, "vocab_size": -1}, NEXT_TOKEN, "config's vocab_size is -1; valid: 1 to"),
        ({**LLAMA, "num_hidden_layers": 0}, NEXT_TOKEN, "num_hidden_layers is 0; valid: 1 to 1000"),
        ({**LLAMA, "num_hidden_layers": 1001}, NEXT_TOKEN, "is 1001; valid: 1 to 1000"),
        ({**GEMMA, "text_config": {"hidden_size": 0}}, NEXT_TOKEN, "hidden_size is 0; valid: 1 to"),
        ({**LLAMA, "hidden_size": None}, NEXT_TOKEN, "cannot build a next-token model of llama"),
        (without(LLAMA, "hidden_size"), NEXT_TOKEN, r"llama model lacks hidden_size \(the .* 4096"),
        (without(LLAMA, "num_hidden_layers"), NEXT_TOKEN, "lacks num_hidden_layers"),
        (without(LLAMA, "vocab_size"), NEXT_TOKEN, "lacks vocab_size"),
        ({"model_type": "gpt2"}, NEXT_TOKEN, "gpt2 model lacks n_embd, n_layer, n_head, vocab_si"),
        ({"model_type": "swin"}, IMAGES, "swin model lacks num_heads, embed_dim, depths"),
        ({"model_type": "gemma3"}, NEXT_TOKEN, "gemma3 model lacks text_config and vision_config"),
    ],
)
def test_a_config_that_the_library_cannot_build_is_refused(config, kind, said):
    from floss_sim.families.from_library import model_table

    with warnings.catch_warnings(), pytest.raises(LayoutError, match=said) as raised:
        model_table(config, kind)
    assert "\n" not in str(raised.value)


def test_dora_on_experts_is_refused_in_one_line():
    from floss_sim.families.from_library import peft_model

    small = default_config("mixtral", num_hidden_layers=1, hidden_size=64)
    settings = AdapterSettings(targets=("all-linear",), dora=True, rank=2)
    with pytest.raises(LayoutError, match="cannot build adapters on mixtral"):
        peft_model(small, NEXT_TOKEN, 0, settings)


@pytest.mark.parametrize(
    "patterns", [{}, {"q_proj": 2}, {".*": 2}, {"gate_up_proj": 2, "down_proj": 1}]
)
def test_experts_of_all_linear_have_the_ranks_of_peft(patterns):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    from floss_sim.families.from_library import peft_model

    config = default_config("mixtral", num_hidden_layers=2, hidden_size=64)
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's own pattern of experts matches no module
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
        lora = LoraConfig(r=4, target_modules="all-linear", rank_pattern=dict(patterns))
        adapted = get_peft_model(model, lora)
    theirs = [tuple(p.shape) for p in adapted.parameters() if p.requires_grad]

    settings = AdapterSettings(rank=4, targets=("all-linear",), rank_pattern=patterns)
    ours = peft_model(config, NEXT_TOKEN, 0, settings).tensors
    assert sorted(tensor.shape for tensor in ours) == sorted(theirs)


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize(
    ("family", "kind", "target"),
    [
        ("qwen2", NEXT_TOKEN, "embed_tokens"),
        ("convnext", IMAGES, "patch_embeddings"),
        ("qwen2", NEXT_TOKEN, "lm_head"),
        ("gpt2", NEXT_TOKEN, "lm_head"),  # not tied, tied
    ],
)
def test_arithmetic_equals_peft_on_embeddings_heads_and_convolutions(family, kind, target, dora):
    from floss_sim.families.from_library import model_table, peft_model

    config, labels = default_config(family), 0 if kind == NEXT_TOKEN else 5
    settings = AdapterSettings(rank=2, targets=(target,), dora=dora)
    ours = trained_tensors(model_table(config, kind).with_labels(labels), settings)
    assert sorted_rows(ours) == sorted_rows(peft_model(config, kind, labels, settings).tensors)


def test_layers_bind_no_module_that_is_named_by_its_whole_path():
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    from floss_sim.families.from_library import peft_model

    config = packaged_backbone("tinyllama-1.1b").config
    targets, layers = ["q_proj", "lm_head"], [1, 2]
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
        lora = LoraConfig(r=2, target_modules=targets, layers_to_transform=layers)
        adapted = get_peft_model(model, lora)
    theirs = [tuple(p.shape) for p in adapted.parameters() if p.requires_grad]

    settings = AdapterSettings(rank=2, targets=tuple(targets), layers=tuple(layers))
    ours = peft_model(config, NEXT_TOKEN, 0, settings).tensors
    assert sorted(tensor.shape for tensor in ours) == sorted(theirs)
    assert len(theirs) == 6


def test_the_head_of_a_bart_classifier_trains_whole():
    from floss_sim.families.from_library import model_table

    table = model_table(default_config("bart", d_model=64), TEXTS)

    assert table.head == ("classification_head",)
    assert {shape[0] for n, shape in table.parameters.items() if "out_proj" in n and -1 in shape}


@pytest.mark.parametrize("saved", [("norm",), ("lm_head",), ("embed_tokens", "lm_head")])
@pytest.mark.parametrize(
    "name", ["smollm2-135m", "tinyllama-1.1b"]
)  # a tied head, and one of its own
def test_modules_to_save_are_those_of_peft(name, saved):
    from floss_sim.families.from_library import peft_model

    backbone = packaged_backbone(name)
    settings = AdapterSettings(rank=2, modules_to_save=saved)
    ours = trained_tensors(backbone.tables[NEXT_TOKEN], settings)
    theirs = peft_model(backbone.config, NEXT_TOKEN, 0, settings).tensors
    assert sorted_rows(ours) == sorted_rows(theirs)


@pytest.mark.parametrize("family", ["t5", "bart"])
@pytest.mark.parametrize(
    "given",
    [
        {"targets": ("embed_tokens",)},
        {"targets": ("shared", "q"), "dora": True},
        {"targets": ("q",), "modules_to_save": ("embed_tokens",)},
        {"targets": ("q",), "modules_to_save": ("shared",)},
    ],
)
def test_embeddings_of_two_stacks_that_are_tied_are_those_of_peft(family, given):
    from floss_sim.families.from_library import model_table, peft_model

    config, settings = default_config(family), AdapterSettings(rank=2, **given)
    table = model_table(config, NEXT_TOKEN)
    assert len(table.tied) == 2
    assert ModelTable.from_json(table.to_json()) == table
    ours = trained_tensors(table, settings)
    assert sorted_rows(ours) == sorted_rows(peft_model(config, NEXT_TOKEN, 0, settings).tensors)


def test_a_module_to_save_that_does_not_exist_is_refused_by_both_ways():
    from floss_sim.families.from_library import peft_model

    backbone = packaged_backbone("smollm2-135m")
    settings = AdapterSettings(rank=2, modules_to_save=("wte",))
    for ask in (
        lambda: trained_tensors(backbone.tables[NEXT_TOKEN], settings),
        lambda: peft_model(backbone.config, NEXT_TOKEN, 0, settings),
    ):
        with pytest.raises(LayoutError, match="module to save 'wte' matches no module"):
            ask()


def test_a_rank_above_a_width_is_refused_by_both_ways():
    from floss_sim.families.from_library import peft_model

    backbone = packaged_backbone("smollm2-135m")
    settings = AdapterSettings(rank=577)
    for ask in (
        lambda: trained_tensors(backbone.tables[NEXT_TOKEN], settings),
        lambda: peft_model(backbone.config, NEXT_TOKEN, 0, settings),
    ):
        with pytest.raises(LayoutError, match="rank 577 does not fit"):
            ask()
