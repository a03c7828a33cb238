"""Training of many families: bank and sequential learner, one round, sizes, reload in plain PEFT.

``make check-families`` trains all cases with LoRA and with DoRA.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from family_checks import check_family, train_round, write_family_task
from tiny_families import FAMILIES, save_tiny
from tiny_models import NEXT_TOKEN, TEXTS, TinyRun, examples

from floss_sim import open_learner
from floss_sim.errors import ConfigError, FlossError, LayoutError, TaskError
from floss_sim.families import check_kind
from floss_sim.training import choose_learner
from floss_sim.training.models.flat_model import build_flat_model
from floss_sim.training.models.loading import load_backbone

# fmt: off
LORA = [
    "bert", "distilbert", "modernbert", "gpt2", "bloom", "mistral", "qwen2", "qwen3_moe", "gemma2",
    "vit", "beit", "convnext-convolutions", "xlnet",
]
DORA = [
    "roberta", "deberta-v2-values", "albert", "gpt_neox", "opt", "llama", "mixtral", "gemma3_text",
    "phi3", "dinov2", "swin",
]
# fmt: on


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("case", "dora"), [*((case, False) for case in LORA), *((case, True) for case in DORA)]
)
def test_a_family_trains_with_each_learner_that_serves_it(case: str, dora: bool, tmp_path: Path):
    report = check_family(case, tmp_path, dora=dora)
    assert report.problems == []
    assert report.learner == FAMILIES[case].learner


def test_at_least_24_families_are_tested():
    assert len({FAMILIES[case].model_type or case for case in (*LORA, *DORA)}) >= 24


@pytest.mark.parametrize(
    ("case", "module"),
    [
        ("deberta-v2", "deberta.encoder.layer.000.attention.self.key_proj "),
        ("qwen3_moe-experts", "model.layers.000.mlp.experts"),
        ("convnext-convolutions", "convnext.encoder.stages.001.downsampling_layer.1 "),
    ],
)
def test_the_reason_for_the_sequential_learner_names_the_module(
    case: str, module: str, tmp_path: Path
):
    choice = choose_learner(write_family_task(case, tmp_path))
    assert choice.kind == "torch-sequential"
    assert choice.reason.startswith(module)


DROPS = {
    "roberta": {"hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.3},
    "deberta-v2-values": {"hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.3},
    "opt": {"dropout": 0.3, "attention_dropout": 0.3},
    "bloom": {"hidden_dropout": 0.3, "attention_dropout": 0.3},
    "gemma2": {"attention_dropout": 0.3},
    "gpt_oss": {"attention_dropout": 0.3},
    "swin": {"drop_path_rate": 0.3, "hidden_dropout_prob": 0.3},
}


@pytest.mark.parametrize("case", DROPS)
def test_dropouts_of_every_form_draw_alike_in_both_learners(case: str, tmp_path: Path):
    dora = case in DORA
    plain = write_family_task(case, tmp_path / "plain", dora=dora)
    drops = write_family_task(case, tmp_path / "drops", DROPS[case], dora=dora, dropout=0.3)
    ours, theirs, still = (
        train_round(open_learner(config, "cpu", learner=learner))
        for config, learner in ((drops, "bank"), (drops, "sequential"), (plain, "sequential"))
    )
    for one, other, dry in zip(ours, theirs, still, strict=True):
        assert np.abs(one - other).max() <= 1e-4 * np.abs(other).max()
        assert np.abs(other - dry).max() > 1e-2 * np.abs(other).max()


@pytest.mark.parametrize("case", ["gemma2", "gpt_oss", "llama", "swin"])
def test_attention_with_streams_is_that_of_the_library(case: str, tmp_path: Path):
    """Caps of scores, sinks and windows are kept where attention drops weights in training."""
    family = FAMILIES[case]
    key = "attention_probs_dropout_prob" if case == "swin" else "attention_dropout"
    logits = []
    for name, rate in (("still", 0.0), ("drops", 0.3)):
        save_tiny(case, tmp_path / name, **{key: rate})
        run = TinyRun(tmp_path / name, family.kind, targets=family.targets)
        flat = build_flat_model(run, torch.device("cpu"))
        with torch.no_grad():
            logits.append(flat.outputs(*examples(family.kind))[0])
    assert torch.allclose(*logits, atol=1e-6)


def test_rslora_and_the_last_layers_alone_in_both_learners(tmp_path: Path):
    report = check_family("qwen3", tmp_path, rslora=True, dora=True, depth=1)
    assert report.problems == []
    config = write_family_task("qwen3", tmp_path, rslora=True, dora=True, depth=1)
    assert config.describe() == "rank 2, DoRA, rsLoRA, last layer, down 1, up 1"
    assert {tensor.name.split(".")[2] for tensor in config.layout.tensors} == {"001"}


@pytest.mark.parametrize("kind", [TEXTS, NEXT_TOKEN])
@pytest.mark.parametrize("family", ["bart", "t5"])
def test_encoder_decoder_models_are_refused_in_a_sentence(family: str, kind: str):
    from library_configs import default_config

    with pytest.raises(TaskError, match=f"a {family} backbone is an encoder-decoder model"):
        check_kind(default_config(family), kind)


@pytest.mark.parametrize(
    ("case", "lora", "said"),
    [
        ("qwen3", {"depth": 3}, "depth 3 is more than the model's 2 layers"),
        ("qwen3", {"layers": [2]}, "layer 2 does not exist; valid: 0 to 1"),
        ("qwen3", {"targets": ["input_layernorm"]}, "matches no module of a qwen3 model; valid"),
        ("bert", {"depth": 3}, "depth 3 is more than the model's 2 layers"),
        ("qwen3_moe-experts", {"dora": True}, "lora.ParamWrapper does not work with use_dora=True"),
    ],
)
def test_adapters_that_do_not_fit_are_refused_in_one_line(
    case: str, lora: dict, said: str, tmp_path: Path
):
    with pytest.raises(LayoutError, match=said) as raised:
        write_family_task(case, tmp_path, **lora).layout  # noqa: B018
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("method", ["ffa", "hetlora"])
def test_methods_that_cannot_hold_dora_are_refused(method: str, tmp_path: Path):
    from floss_sim import RunConfig
    from floss_sim.methods import method_from_name

    task = write_family_task("vit", tmp_path, dora=True).task
    with pytest.raises(LayoutError, match=f"method '{method}' cannot hold DoRA"):
        RunConfig.of(task, method_from_name(method), rank=2)


def test_weights_of_more_layers_than_the_config_has_are_refused(tmp_path: Path):
    save_tiny("qwen3", tmp_path)
    path = tmp_path / "config.json"
    text = path.read_text(encoding="utf-8").replace(
        '"num_hidden_layers": 2', '"num_hidden_layers": 1'
    )
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FlossError, match=r"does not use tensor 'model.layers.1") as raised:
        load_backbone(TinyRun(tmp_path, NEXT_TOKEN).task)
    assert "\n" not in str(raised.value)


def test_a_bank_whose_clients_change_each_other_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from floss_sim.training import learner_choice

    monkeypatch.setattr(learner_choice, "_OF_POSITIONS", {})  # DeBERTa's keys look like any others
    config = write_family_task("deberta-v2", tmp_path)
    with pytest.raises(ConfigError, match=r"bank cannot train .* valid: --learner sequential"):
        open_learner(config, "cpu")
    assert open_learner(config, "cpu", learner="sequential")


def test_the_order_of_rows_in_a_backbone_is_checked(tmp_path: Path):
    """Rows of all tokens of all examples, tokens first, as a family might order them."""
    from floss_sim.training.bank.model import build_bank
    from floss_sim.training.bank.self_check import check_clients

    config = write_family_task("qwen3", tmp_path)
    bank = build_bank(config, torch.device("cpu"))
    check_clients(config, bank)
    layer = bank.model.model.layers[0].self_attn.q_proj
    plain = type(layer).forward

    class TokensFirst(type(layer)):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            turned = plain(self, x.transpose(0, 1).reshape(-1, x.shape[-1]))
            return turned.view(x.shape[1], x.shape[0], -1).transpose(0, 1)

    layer.__class__ = TokensFirst
    with pytest.raises(ConfigError, match="change each other's logits"):
        check_clients(config, bank)
