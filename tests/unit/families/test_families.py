"""Layouts against the very models they describe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_models import CASES, LABELS, NEXT_TOKEN, ROLES, TEXTS, TinyRun, tiny_model

from floss_sim.errors import LayoutError, TaskError
from floss_sim.families import FAMILIES, check_kind, model_inputs, resolve_targets
from floss_sim.training.models.loading import load_backbone
from floss_sim.training.models.parameter_names import parameter_names
from floss_sim.vectors.layout import PRETRAINED_KINDS, Layout, build_layout

ODD = {  # the configs in which the shapes differ from the family's usual
    "vit": {"qkv_bias": False, "image_size": [8, 16], "patch_size": [4, 2], "num_channels": 1},
    "bert": {"type_vocab_size": 3},
    "gpt2": {"n_inner": 20, "tie_word_embeddings": False},
    "llama": {
        "attention_bias": True,
        "mlp_bias": True,
        "head_dim": 6,
        "num_key_value_heads": None,
        "tie_word_embeddings": True,
    },
}


def config_of(family: str, **changes: object) -> dict:
    return json.loads(tiny_model(family, **changes).config.to_json_string())


def layout_of(config: dict, trains: str, labels: int = LABELS, **more: object) -> Layout:
    chosen = {"targets": ("all",), "rank": 2, **more}
    return build_layout(config, trains=trains, labels=labels, **chosen)


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize(("family", "kind"), CASES)
def test_the_full_layout_is_the_models_parameters_with_their_shapes(
    family: str, kind: str, odd: bool, tmp_path: Path
):
    tiny_model(family, **(ODD[family] if odd else {})).save_pretrained(tmp_path)
    chosen = TinyRun(tmp_path, kind, "full")
    model = load_backbone(chosen.task)
    names = parameter_names(chosen.layout, model)
    found = {names[tensor.name]: tensor.shape for tensor in chosen.layout.tensors}
    assert found == {name: tuple(p.shape) for name, p in model.named_parameters()}
    biases = {t.name for t in chosen.layout.tensors if t.kind == "bias"}
    assert {names[name] for name in biases} == {
        name
        for name, _ in model.named_parameters()
        if name.endswith("bias") and not name.startswith("classifier")
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_keys_that_a_config_leaves_out_take_the_model_librarys_defaults(family: str):
    plain = tiny_model(family)
    optional = ("qkv_bias", "num_key_value_heads", "head_dim", "n_inner", "tie_word_embeddings",
                "attention_bias", "mlp_bias", "type_vocab_size")  # fmt: skip
    config = json.loads(plain.config.to_json_string())
    bare = {key: value for key, value in config.items() if key not in optional}
    again = type(plain.config).from_dict(bare)
    full = json.loads(again.to_json_string())
    for labels in (LABELS, 0) if NEXT_TOKEN in FAMILIES[family].kinds else (LABELS,):
        assert layout_of(bare, "full", labels) == layout_of(full, "full", labels)


@pytest.mark.parametrize("family", FAMILIES)
def test_all_is_every_role_and_a_has_the_width_that_the_role_reads(family: str):
    assert resolve_targets(family, ["all"]) == ROLES[family]
    layout = layout_of(config_of(family), "lora")
    assert {t.name.split(".")[2] for t in layout.tensors if t.kind == "lora_A"} == {*ROLES[family]}
    assert {t.name: t.shape for t in layout.tensors}["layer.001.mlp_out.lora_A"][0] == 2


@pytest.mark.parametrize(
    ("family", "names", "roles"),
    [
        ("vit", ["q_proj", "v_proj"], ("q", "v")),
        ("vit", ["value", "query"], ("q", "v")),
        ("vit", ["attention.attention.key"], ("k",)),
        ("vit", ["dense"], ("o", "mlp_in", "mlp_out")),
        ("bert", ["query", "intermediate.dense"], ("q", "mlp_in")),
        ("gpt2", ["c_attn", "c_proj", "c_fc"], ("qkv", "o", "mlp_in", "mlp_out")),
        ("gpt2", ["attn.c_proj"], ("o",)),
        ("gpt2", ["mlp.c_proj", "mlp_out"], ("mlp_out",)),
        ("llama", ["down_proj", "gate_proj", "q"], ("q", "mlp_gate", "mlp_out")),
        ("llama", ["all", "q"], ROLES["llama"]),
    ],
)
def test_targets_are_roles_or_module_names_of_today_or_before(
    family: str, names: list[str], roles: tuple[str, ...]
):
    assert resolve_targets(family, names) == roles


@pytest.mark.parametrize("name", ["q", "q_proj", "roj", "", "classifier", "layer.0"])
def test_an_unknown_target_is_refused_with_the_roles_and_modules_there_are(name: str):
    with pytest.raises(LayoutError, match=r"valid: all, qkv, o, mlp_in, mlp_out, or .*mlp.c_fc"):
        resolve_targets("gpt2", ["o", name])


@pytest.mark.parametrize("names", [[], ["q", "q"]])
def test_no_target_or_one_named_twice_is_refused(names: list[str]):
    with pytest.raises(LayoutError, match="one or more different names"):
        resolve_targets("vit", names)


def test_ffa_has_b_and_the_head_and_keeps_the_a_of_lora_aside():
    lora, ffa = (layout_of(config_of("gpt2"), trains) for trains in ("lora", "ffa"))
    assert {t.kind for t in ffa.tensors} == {"lora_B", "head_weight"}
    assert {*ffa.frozen} | {*ffa.tensors} == {*lora.tensors}
    assert {t.kind for t in ffa.frozen} == {"lora_A"}
    assert lora.frozen == ()


def test_bitfit_full_and_head_do_not_mind_the_rank_or_the_targets():
    for trains in ("bitfit", "full", "head"):
        one = layout_of(config_of("bert"), trains)
        assert one == layout_of(config_of("bert"), trains, rank=999, targets=("nonsense",))
        assert {t.kind for t in one.tensors} >= {"head_weight", "head_bias"}


def test_the_first_offsets_of_pretrained_tensors_are_zero_and_those_of_the_head_are_not():
    layout = layout_of(config_of("bert"), "full")
    offsets = layout.initial_vector(3)
    for tensor in layout.tensors:
        begins_at_zero = tensor.kind in (*PRETRAINED_KINDS, "head_bias")
        assert offsets[layout.slices[tensor.name]].any() != begins_at_zero
    head = layout_of(config_of("bert"), "head")
    where = layout.slices["head.weight"]
    assert (offsets[where] == head.initial_vector(3)[head.slices["head.weight"]]).all()


@pytest.mark.parametrize(
    ("family", "trains", "reason"),
    [
        ("llama", "head", "there is no new head"),
        ("llama", "bitfit", "there is no bias in llama"),
        ("gpt2", "adapters", "valid: lora, ffa, square, heads, merged, bitfit, full, head"),
        ("vit", "lora", "does not predict next tokens"),
        ("bert", "full", "does not predict next tokens"),
    ],
)
def test_layouts_that_cannot_be_are_refused(family: str, trains: str, reason: str):
    with pytest.raises(LayoutError, match=reason):
        layout_of(config_of(family), trains, labels=0)


def test_the_rank_is_held_against_the_narrower_side_of_grouped_heads():
    config = config_of("llama")  # 2 key heads of 4
    assert layout_of(config, "lora", rank=8, targets=("k",))
    with pytest.raises(LayoutError, match=r"rank 9 .*role 'k' of shape 8 x 16; valid: 1 to 8"):
        layout_of(config, "lora", rank=9, targets=("k",))


def test_a_backbone_that_cannot_do_the_task_is_refused():
    check_kind(config_of("gpt2"), NEXT_TOKEN)
    with pytest.raises(
        TaskError, match="a vit backbone does not support text-classification; valid: im"
    ):
        check_kind(config_of("vit"), TEXTS)


@pytest.mark.parametrize(
    ("family", "key", "value"),
    [
        ("bert", "num_hidden_layers", 1001),
        ("gpt2", "n_layer", 10**9),
        ("llama", "vocab_size", 2**31),
    ],
)
def test_sizes_beyond_any_model_are_refused_at_once(family: str, key: str, value: int):
    with pytest.raises(LayoutError, match=f"{key} is {value}; valid: 1 to "):
        layout_of({**config_of(family), key: value}, "full")


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "vit"])
@pytest.mark.parametrize("removed", [(), ("pad_token_id",), ("pad_token_id", "eos_token_id")])
def test_the_padding_token_is_that_of_the_model_librarys_config(family: str, removed: tuple):
    plain = tiny_model(family, vocab_size=60_000).config
    stated = json.loads(plain.to_json_string())
    bare = {key: value for key, value in stated.items() if key not in removed}
    library = type(plain)(**bare)
    known = [library.pad_token_id, library.eos_token_id]
    expected = next((token for token in known if token is not None and token >= 0), 0)
    assert model_inputs(bare, TEXTS).pad == expected


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ({"pad_token_id": 3}, (3, "pad_token_id")),
        ({"pad_token_id": -1, "eos_token_id": 2}, (2, "eos_token_id")),
        ({"pad_token_id": None, "eos_token_id": [99, 5]}, (5, "eos_token_id")),
        ({"pad_token_id": 30, "eos_token_id": "x"}, (0, "")),
        ({"pad_token_id": True, "eos_token_id": None}, (0, "")),
    ],
)
def test_a_padding_token_outside_the_vocabulary_is_passed_over(tokens: dict, expected: tuple):
    found = model_inputs({**config_of("llama"), **tokens}, TEXTS)
    assert (found.pad, found.pad_key) == expected


@pytest.mark.parametrize(("key", "value"), [("image_size", [8, "8"]), ("patch_size", 0)])
def test_an_image_size_that_is_no_whole_number_is_refused(key: str, value: object):
    with pytest.raises(LayoutError, match=key):
        layout_of({**config_of("vit"), key: value}, "full")
