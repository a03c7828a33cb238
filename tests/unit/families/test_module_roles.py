from collections import Counter

import pytest

from floss_sim.errors import LayoutError
from floss_sim.families.adapter_settings import AdapterSettings
from floss_sim.families.model_table import ModelTable
from floss_sim.families.module_roles import layer_of, resolve_modules, role_of
from floss_sim.families.packaged import packaged_backbone, packaged_backbones


def table(backbone="smollm2-135m", kind="next-token"):
    return packaged_backbone(backbone).tables[kind]


def resolved(*targets, backbone="smollm2-135m", kind="next-token", **settings):
    return resolve_modules(table(backbone, kind), AdapterSettings(targets=targets, **settings))


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("model.layers.0.self_attn.q_proj", "q"),
        ("bert.encoder.layer.3.attention.self.key", "k"),
        ("bert.encoder.layer.3.attention.output.dense", "o"),
        ("bert.encoder.layer.3.output.dense", "mlp_out"),
        ("transformer.h.0.attn.c_proj", "o"),
        ("transformer.h.0.mlp.c_proj", "mlp_out"),
        ("model.layers.0.attn.Wo", "o"),
        ("model.layers.0.mlp.Wo", "mlp_out"),
        ("model.layers.0.mlp.gate_up_proj", "mlp_gate_in"),
        ("gpt_neox.layers.0.attention.query_key_value", "qkv"),
        ("gpt_neox.layers.0.mlp.dense_h_to_4h", "mlp_in"),
        ("distilbert.transformer.layer.0.ffn.lin2", "mlp_out"),
        ("bert.pooler.dense", None),
        ("model.layers.0.input_layernorm", None),
    ],
)
def test_a_role_follows_from_the_name_of_a_module(path, role):
    assert role_of(path) == role


def test_every_packaged_backbone_has_attention_and_mlp_roles_in_every_layer():
    for name in packaged_backbones():
        for kind, made in packaged_backbone(name).tables.items():
            paths = resolve_modules(made, AdapterSettings(targets=("all",)))
            roles = Counter(role_of(path) for path in paths)
            assert {"o", "mlp_out"} < set(roles), (name, kind)
            assert len(set(roles.values())) == 1, (name, roles)


def test_the_first_number_of_a_path_is_its_layer():
    assert layer_of("swin.encoder.layers.2.blocks.5.mlp.fc1") == 2
    assert layer_of("model.embed_tokens") is None


def test_targets_are_roles_names_ends_of_paths_or_an_expression():
    assert len(resolved("q")) == len(resolved("q_proj")) == len(resolved("self_attn.q_proj")) == 30
    assert set(resolved("q", "v")) == set(resolved(r"re:.*self_attn\.[qv]_proj"))
    assert set(resolved("all")) == set(resolved("all-linear"))


def test_a_depth_counts_from_the_last_layer():
    assert {layer_of(path) for path in resolved("q", depth=2)} == {28, 29}
    assert {layer_of(path) for path in resolved("q", layers=(0, 3))} == {0, 3}


def test_a_new_head_and_modules_to_save_get_no_adapter():
    text = {"backbone": "deberta-v3-base", "kind": "text-classification"}

    assert not [path for path in resolved("all-linear", **text) if path.startswith("pooler")]
    left = resolved("all-linear", modules_to_save=("o_proj",))
    assert not [path for path in left if path.endswith("o_proj")]


@pytest.mark.parametrize(
    ("targets", "settings", "said"),
    [
        (("q", "qkv"), {}, "'qkv' matches no module of a llama model; valid: all, all-linear, ro"),
        (("re:x",), {}, "'re:x' matches no module"),
        (("q",), {"depth": 31}, "more than the model's 30 layers"),
        (("q",), {"layers": (30,)}, "layer 30 does not exist; valid: 0 to 29"),
        (("embed_tokens",), {"depth": 1}, r"no target lies in layers \[29\]"),
    ],
)
def test_a_target_that_matches_nothing_is_refused(targets, settings, said):
    with pytest.raises(LayoutError, match=said):
        resolved(*targets, **settings)


def test_what_exists_is_listed_also_for_a_model_of_one_layer():
    one = ModelTable("tiny", {"m.layers.0.fc1.weight": (2, 2)}, {"m.layers.0.fc1": "linear"})

    with pytest.raises(LayoutError, match="roles mlp_in, modules fc1"):
        resolve_modules(one, AdapterSettings(targets=("q",)))
