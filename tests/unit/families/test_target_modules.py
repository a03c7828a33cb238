from collections import Counter

import pytest

from floss_sim.errors import LayoutError
from floss_sim.families.adapter_settings import AdapterSettings
from floss_sim.families.model_table import ModelTable
from floss_sim.families.module_roles import layer_of, role_of
from floss_sim.families.packaged import packaged_backbone, packaged_backbones
from floss_sim.families.target_modules import resolve_modules, stack_layers


def table(backbone="smollm2-135m", kind="next-token"):
    return packaged_backbone(backbone).tables[kind]


def resolved(*targets, backbone="smollm2-135m", kind="next-token", **settings):
    return resolve_modules(table(backbone, kind), AdapterSettings(targets=targets, **settings))


def test_every_packaged_backbone_has_attention_and_mlp_roles_in_every_layer():
    for name in packaged_backbones():
        for kind, made in packaged_backbone(name).tables.items():
            paths = resolve_modules(made, AdapterSettings(targets=("all",)))
            roles = Counter(role_of(path) for path in paths)
            assert {"o", "mlp_out"} < set(roles), (name, kind)
            assert len(set(roles.values())) == 1, (name, roles)


def test_targets_are_roles_names_ends_of_paths_or_an_expression():
    assert len(resolved("q")) == len(resolved("q_proj")) == len(resolved("self_attn.q_proj")) == 30
    assert set(resolved("q", "v")) == set(resolved(r"re:.*self_attn\.[qv]_proj"))
    assert set(resolved("all")) == set(resolved("all-linear"))


def test_a_depth_counts_from_the_last_layer():
    assert {layer_of(path) for path in resolved("q", depth=2)} == {28, 29}
    assert {layer_of(path) for path in resolved("q", layers=(0, 3))} == {0, 3}


@pytest.mark.parametrize("settings", [{"layers": (0, 3)}, {"depth": 2}])
def test_a_module_named_by_its_whole_path_is_adapted_outside_the_layers(settings):
    in_layers = resolved("q", **settings)

    assert resolved("q", "lm_head", **settings) == (*in_layers, "lm_head")
    assert resolved("q", "model.embed_tokens", **settings) == ("model.embed_tokens", *in_layers)


TWO_STACKS = {
    f"model.{stack}.layers.{layer}.fc1": "linear"
    for stack, layers in (("encoder", 2), ("decoder", 6))
    for layer in range(layers)
}


def two_stacks(target, depth):
    shapes = {f"{path}.weight": (4, 4) for path in TWO_STACKS}
    table = ModelTable("t", shapes, TWO_STACKS)
    return resolve_modules(table, AdapterSettings(targets=(target,), depth=depth))


def test_a_depth_counts_in_the_stack_of_the_targets():
    assert two_stacks(r"re:model\.encoder.*fc1", 1) == ("model.encoder.layers.1.fc1",)
    assert two_stacks(r"re:model\.decoder.*fc1", 1) == ("model.decoder.layers.5.fc1",)
    with pytest.raises(LayoutError, match="depth 3 is more than the model's 2 layers"):
        two_stacks(r"re:model\.encoder.*fc1", 3)


def test_the_layers_of_a_stack_are_those_in_which_the_targets_lie():
    assert stack_layers(table(), AdapterSettings(targets=("q",), depth=2)) == 30
    two = ModelTable("t", {f"{path}.weight": (4, 4) for path in TWO_STACKS}, TWO_STACKS)
    assert stack_layers(two, AdapterSettings(targets=(r"re:model\.decoder.*fc1",))) == 6
    with pytest.raises(LayoutError, match="one stack of layers"):
        stack_layers(two, AdapterSettings(targets=("fc1",)))


def test_a_depth_of_two_stacks_is_refused_with_an_expression_that_chooses_one():
    with pytest.raises(
        LayoutError, match=r"lie in model.decoder \(6\) and model.encoder \(2\)"
    ) as e:
        two_stacks("fc1", 1)

    advice = str(e.value).rpartition("such as ")[2]
    assert two_stacks(advice, 1) == ("model.encoder.layers.1.fc1",)


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
        (("embed_tokens",), {"depth": 1}, "no target lies in a layer of the model"),
        (("embed_tokens",), {"layers": (29,)}, "in layers 29; valid: .* path, such as model.embed"),
        (("q", "embed_tokens"), {"layers": (29,)}, "'embed_tokens' matches no module in layers 29"),
        (("q", "embed_tokens"), {"depth": 2}, "'embed_tokens' matches no module in layers 28, 29"),
    ],
)
def test_a_target_that_matches_nothing_is_refused(targets, settings, said):
    with pytest.raises(LayoutError, match=said):
        resolved(*targets, **settings)


SLOW = r"(?:(?:.|..)+)+[A-Z]"  # exponential in the length of a path


@pytest.mark.parametrize(
    "settings",
    [{"targets": (f"re:{SLOW}",)}, {"rank_pattern": {SLOW: 2}}, {"alpha_pattern": {SLOW: 2.0}}],
)
def test_an_expression_that_takes_exponential_time_is_refused(settings):
    with pytest.raises(LayoutError, match="takes more than 2 s to match"):
        resolve_modules(table(), AdapterSettings(**settings))


def test_a_model_without_linear_modules_is_refused():
    one = ModelTable(
        "resnet", {"m.layers.0.conv.weight": (2, 2, 3, 3)}, {"m.layers.0.conv": "conv2d"}
    )

    with pytest.raises(LayoutError, match="a resnet model has no linear module"):
        resolve_modules(one, AdapterSettings(targets=("all-linear",)))


@pytest.mark.parametrize("what", ["rank", "alpha"])
def test_a_pattern_that_matches_no_module_with_an_adapter_is_refused(what):
    said = f"{what} pattern 'k_proj' matches no module of a llama model that gets an adapter; .*"
    with pytest.raises(LayoutError, match=f"{said}model.layers.0.self_attn.q_proj, modules q_proj"):
        resolved("q", "v", **{f"{what}_pattern": {"v_proj": 2, "k_proj": 2}})


def test_what_exists_is_listed_also_for_a_model_of_one_layer():
    one = ModelTable("tiny", {"m.layers.0.fc1.weight": (2, 2)}, {"m.layers.0.fc1": "linear"})

    with pytest.raises(LayoutError, match="roles mlp_in, modules fc1"):
        resolve_modules(one, AdapterSettings(targets=("q",)))
