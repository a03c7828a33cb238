import pytest

from floss_sim.families.module_roles import layer_of, role_of, stack_of


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
        ("decoder.block.0.layer.1.EncDecAttention.o", "o"),
        ("decoder.block.0.layer.2.DenseReluDense.wi_0", "mlp_gate"),
        ("decoder.block.0.layer.2.DenseReluDense.wi_1", "mlp_in"),
        ("decoder.block.0.layer.2.DenseReluDense.wo", "mlp_out"),
        ("encoder.block.0.layer.0.TransientGlobalSelfAttention.o", "o"),
        ("led.encoder.layers.0.self_attn.output", "o"),
        ("hiera.encoder.stages.0.layers.0.attn.proj", "o"),
        ("transformer.h.0.mlp.fc_in", "mlp_in"),
        ("transformer.h.0.mlp.fc_out", "mlp_out"),
        ("model.layers.0.feed_forward.w1", "mlp_gate"),
        ("model.layers.0.feed_forward.w2", "mlp_out"),
        ("model.layers.0.feed_forward.w3", "mlp_in"),
        ("pvt_v2.encoder.layers.0.blocks.0.mlp.dense1", "mlp_in"),
        ("model.layers.0.mamba.in_proj", None),
        ("backbone.layers.0.mixer.out_proj", None),
        ("bert.pooler.dense", None),
        ("model.layers.0.input_layernorm", None),
    ],
)
def test_a_role_follows_from_the_name_of_a_module(path, role):
    assert role_of(path) == role


@pytest.mark.parametrize(
    ("path", "layer", "stack"),
    [
        ("swin.encoder.layers.2.blocks.5.mlp.fc1", 2, "swin.encoder"),
        ("model.decoder.layers.11.self_attn.q_proj", 11, "model.decoder"),
        ("transformer.ffns.3.lin1", 3, "transformer"),
        ("h.0.attn.c_attn", 0, ""),
        ("model.embed_tokens", None, None),
    ],
)
def test_the_first_number_of_a_path_is_its_layer(path, layer, stack):
    assert layer_of(path) == layer
    assert stack_of(path) == stack
