import pytest

from floss_sim.families.experts import (
    active_experts,
    active_rows,
    entries_without_adapter,
    expert_parameters,
)
from floss_sim.families.model_table import ModelTable
from floss_sim.families.trained_tensors import LORA_A, TrainedModel, TrainedTensor

STACKED = {
    "m.layers.0.mlp.experts.gate_up_proj": (8, 10, 4),
    "m.layers.0.mlp.experts.gate_up_proj_bias": (8, 10),
    "m.layers.0.mlp.experts.down_proj": (8, 4, 5),
}
LISTED = {f"m.layers.0.mlp.experts.{number}.w1.weight": (10, 4) for number in range(8)}
OTHERS = {"m.layers.0.mlp.gate.weight": (8, 4), "m.layers.0.mlp.shared_experts.w1.weight": (3, 4)}


@pytest.mark.parametrize(("experts", "rows"), [(STACKED, 2 * (14 + 9)), (LISTED, 2 * 14), ({}, 0)])
def test_a_token_passes_through_the_active_experts_only(experts, rows):
    table = ModelTable("t", {**experts, **OTHERS}, {})

    assert expert_parameters(table) == experts
    assert active_rows(experts, active=2) == rows


def test_experts_have_an_adapter_if_a_trained_tensor_is_in_them():
    table = ModelTable("t", {**STACKED, **OTHERS}, {})

    def trained(module):
        return TrainedModel("t", 0, (), (TrainedTensor(module, LORA_A, (1, 1)),))

    assert entries_without_adapter(table, trained("m.layers.0.self_attn.q_proj")) == 8 * 70
    assert entries_without_adapter(table, trained("m.layers.0.mlp.experts.base_layer")) == 0


@pytest.mark.parametrize(
    ("config", "active"),
    [
        ({"num_experts_per_tok": 4}, 4), ({"moe_topk": 3}, 3), ({"num_experts_per_tok": None}, 1),
        ({"text_config": {"num_experts_per_tok": 8}}, 8), ({}, 1),
    ],
)  # fmt: skip
def test_the_config_says_how_many_experts_are_active(config, active):
    assert active_experts(config) == active
