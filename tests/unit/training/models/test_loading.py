"""Backbones from folders, good and bad."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tiny_models import IMAGES, LABELS, NEXT_TOKEN, TEXTS, TinyRun, examples, tiny_model
from transformers import AutoModelForSequenceClassification

from floss_sim.errors import LayoutError, TaskError
from floss_sim.training import export_adapter
from floss_sim.training.bank.model import build_bank_model
from floss_sim.training.models.flat_model import build_flat_model
from floss_sim.training.models.loading import load_backbone
from floss_sim.training.models.parameter_names import module_path, tensor_parameters
from floss_sim.training.models.peft_adapters import with_adapters
from floss_sim.wire import encode


@pytest.fixture
def gpt2(tmp_path: Path) -> Path:
    tiny_model("gpt2").save_pretrained(tmp_path)
    return tmp_path


def change_weights(folder: Path, **changes: torch.Tensor | None) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path) | changes
    save_file({n: w for n, w in weights.items() if w is not None}, path, {"format": "pt"})


def refusal(folder: Path, kind: str = TEXTS) -> str:
    with pytest.raises(TaskError, match="task 'tiny'") as caught:
        load_backbone(TinyRun(folder, kind).task)
    assert "\n" not in str(caught.value)
    return str(caught.value)


NAME = "transformer.h.1.mlp.c_fc.weight"


def test_a_missing_weight_is_named(gpt2: Path):
    change_weights(gpt2, **{NAME: None})
    assert refusal(gpt2).endswith(f": missing tensor {NAME!r}")
    change_weights(gpt2, **{"transformer.ln_f.bias": None})
    assert refusal(gpt2).endswith(f": missing tensor {NAME!r} (and 1 more)")


def test_the_weights_of_another_family_are_refused(gpt2: Path, tmp_path: Path):
    tiny_model("bert").save_pretrained(tmp_path / "bert")
    (tmp_path / "bert" / "model.safetensors").replace(gpt2 / "model.safetensors")
    assert "missing tensor 'transformer.h.0.attn.c_attn.bias' (and 27 more)" in refusal(gpt2)


def test_a_weight_of_another_shape_is_named_with_both(gpt2: Path):
    change_weights(gpt2, **{NAME: torch.zeros(16, 4)})
    assert f": tensor {NAME!r} has shape (16, 4), expected (16, 64)" in refusal(gpt2)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_named(gpt2: Path, value: float):
    change_weights(gpt2, **{NAME: torch.full((16, 64), value)})
    assert f": tensor {NAME!r} holds NaN or infinity" in refusal(gpt2)


def test_damaged_weights_and_pickles_are_refused(gpt2: Path):
    (gpt2 / "model.safetensors").write_bytes(b"weights")
    refusal(gpt2)
    (gpt2 / "model.safetensors").unlink()
    torch.save({}, gpt2 / "pytorch_model.bin")
    assert "model.safetensors" in refusal(gpt2)


def test_a_config_that_the_library_refuses_is_refused(gpt2: Path):
    config = json.loads((gpt2 / "config.json").read_text(encoding="utf-8"))
    config["resid_pdrop"] = "a lot"
    (gpt2 / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert "resid_pdrop" in refusal(gpt2)


def test_a_backbone_of_another_kind_is_refused(gpt2: Path):
    with pytest.raises(TaskError, match="a gpt2 backbone does not support image-class"):
        load_backbone(TinyRun(gpt2, IMAGES).task)


def test_an_untied_language_head_must_be_there_and_a_tied_one_need_not(tmp_path: Path):
    tiny_model("llama", tie_word_embeddings=True).save_pretrained(tmp_path / "tied")
    assert load_backbone(TinyRun(tmp_path / "tied", NEXT_TOKEN).task)
    tiny_model("llama").save_pretrained(tmp_path / "untied")
    change_weights(tmp_path / "untied", **{"lm_head.weight": None})
    assert "missing tensor 'lm_head.weight'" in refusal(tmp_path / "untied", NEXT_TOKEN)
    assert load_backbone(TinyRun(tmp_path / "untied", TEXTS).task)


def test_an_old_head_of_other_classes_gives_way_to_the_new_one(tmp_path: Path):
    tiny_model("vit", num_labels=7).save_pretrained(tmp_path)
    model = load_backbone(TinyRun(tmp_path, IMAGES).task)
    assert model.classifier.weight.shape == (LABELS, 16)


def test_shards_and_half_precision_load_as_float32(tmp_path: Path, gpt2: Path):
    tiny_model("gpt2").bfloat16().save_pretrained(tmp_path / "half", max_shard_size="4KB")
    assert len(list((tmp_path / "half").glob("*.safetensors"))) > 1
    half, whole = (load_backbone(TinyRun(f, TEXTS).task) for f in (tmp_path / "half", gpt2))
    kept = dict(whole.named_parameters())
    for name, parameter in half.named_parameters():
        assert parameter.dtype == torch.float32
        if not name.startswith("score"):
            assert torch.equal(parameter, kept[name].bfloat16().float())


@pytest.mark.parametrize(
    ("changes", "pad"),
    [
        ({}, 29),
        ({"pad_token_id": 3}, 3),
        ({"eos_token_id": [5, 6]}, 5),
        ({"eos_token_id": None}, 0),
        ({"eos_token_id": 30}, 0),
    ],
)
def test_a_padding_token_is_the_configs_own_or_its_end_or_0(
    tmp_path: Path, changes: dict[str, object], pad: int
):
    tiny_model("gpt2").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(config | changes), encoding="utf-8")
    assert load_backbone(TinyRun(tmp_path, TEXTS).task).config.pad_token_id == pad


@pytest.fixture
def adapted(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders with one BERT; in the second an adapter with large weights lies as well."""
    plain, both = tmp_path / "plain", tmp_path / "both"
    for folder in (plain, both):
        tiny_model("bert").save_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(plain)
    stray = get_peft_model(model, LoraConfig(r=2, target_modules=["query"], lora_alpha=64))
    for name, parameter in stray.named_parameters():
        if "lora_B" in name:
            parameter.data.fill_(1.0)
    stray.save_pretrained(both)
    return plain, both


def test_an_adapter_in_the_folder_is_loaded_by_no_learner(adapted: tuple[Path, Path]):
    x, y = examples(TEXTS)
    plain, both = (TinyRun(folder, TEXTS) for folder in adapted)
    trusting = AutoModelForSequenceClassification.from_pretrained(both.folder)
    assert any("lora" in name for name, _ in trusting.named_parameters())  # the trap is real
    assert [n for n, _ in load_backbone(both.task).named_parameters()] == [
        n for n, _ in load_backbone(plain.task).named_parameters()
    ]
    for build in (build_flat_model, build_bank_model):
        logits = []
        for run in (plain, both):
            model = build(run, torch.device("cpu"))
            model.load(model.base + run.layout.initial_vector(0))
            logits.append(model.outputs(x, y)[0].detach())
        assert torch.equal(*logits)


def test_an_export_says_that_the_folders_adapter_was_not_loaded(
    adapted: tuple[Path, Path], tmp_path: Path
):
    for folder, said in zip(adapted, (False, True), strict=True):
        run = TinyRun(folder, TEXTS)
        blob = encode(run.layout, run.layout.initial_vector(0), np.ones(run.layout.entries, bool))
        export_adapter(run, blob, tmp_path / "out")
        notes = json.loads((tmp_path / "out" / "floss_sim.json").read_text(encoding="utf-8"))
        assert ("not_loaded" in notes) == said
        saved = load_file(tmp_path / "out" / "adapter_model.safetensors")
        assert len(saved) == len(run.layout.tensors)


@pytest.mark.parametrize(
    ("family", "kind", "extra"),
    [
        ("vit", IMAGES, ["vit.pooler.dense.weight", "vit.embeddings.mask_token", "decoder.0.bias"]),
        ("bert", TEXTS, ["cls.predictions.bias", "embeddings.position_ids", "qa_outputs.bias"]),
        ("gpt2", TEXTS, ["h.0.attn.bias", "transformer.h.1.attn.masked_bias", "lm_head.weight"]),
        ("gpt2", NEXT_TOKEN, ["score.weight", "transformer.h.0.attn.bias"]),
        ("llama", TEXTS, ["model.layers.0.self_attn.rotary_emb.inv_freq", "score.weight"]),
    ],
)
def test_heads_of_other_tasks_and_buffers_may_be_stored(
    tmp_path: Path, family: str, kind: str, extra: list[str]
):
    tiny_model(family).save_pretrained(tmp_path)
    before = load_backbone(TinyRun(tmp_path, kind).task).state_dict()
    change_weights(tmp_path, **{name: torch.full((3,), 7.0) for name in extra})
    if "lm_head.weight" in extra:
        change_weights(tmp_path, **{"lm_head.weight": torch.zeros(30, 16)})
    after = load_backbone(TinyRun(tmp_path, kind).task).state_dict()
    new = ("classifier", "score")
    assert all(torch.equal(before[n], after[n]) for n in before if not n.startswith(new))


@pytest.mark.parametrize(
    ("family", "kind", "name"),
    [
        ("vit", IMAGES, "vit.encoder.layer.2.attention.attention.query.weight"),
        ("bert", TEXTS, "encoder.layer.1.output.dense.lora_A"),
        ("bert", TEXTS, "bert.embeddings.extra.weight"),
        ("gpt2", NEXT_TOKEN, "transformer.h.2.attn.c_attn.bias"),
        ("llama", NEXT_TOKEN, "model.layers.0.self_attn.q_proj.bias"),
        ("llama", TEXTS, "model.layers.0.self_attn.q_proj.weight_scale"),
    ],
)
def test_a_tensor_that_the_model_does_not_use_is_named(
    tmp_path: Path, family: str, kind: str, name: str
):
    tiny_model(family).save_pretrained(tmp_path)
    change_weights(tmp_path, **{name: torch.ones(16)})
    assert refusal(tmp_path, kind).endswith(f": the model does not use tensor {name!r}")


def test_two_spellings_of_one_parameter_are_refused(tmp_path: Path):
    tiny_model("vit").save_pretrained(tmp_path)
    change_weights(tmp_path, **{"vit.layernorm.weight": torch.ones(16)})
    change_weights(tmp_path, **{"layernorm.weight": torch.ones(16)})
    said = refusal(tmp_path, IMAGES)
    assert "'vit.layernorm.weight' and 'layernorm.weight' are the same parameter" in said


def test_weights_that_are_whole_numbers_are_refused(gpt2: Path):
    change_weights(gpt2, **{NAME: torch.ones(16, 64, dtype=torch.int8)})
    assert f"tensor {NAME!r} holds I8; valid: F64, F32, F16, BF16" in refusal(gpt2)


def test_old_names_of_layer_norms_are_known(tmp_path: Path):
    tiny_model("bert").save_pretrained(tmp_path)
    before = load_backbone(TinyRun(tmp_path, TEXTS).task).state_dict()
    weights = load_file(tmp_path / "model.safetensors")
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("Norm.bias", "Norm.beta"): value
        for name, value in weights.items()
    }
    assert old.keys() != weights.keys()
    save_file(old, tmp_path / "model.safetensors", {"format": "pt"})
    after = load_backbone(TinyRun(tmp_path, TEXTS).task).state_dict()
    assert all(torch.equal(before[n], after[n]) for n in before if "classifier" not in n)


def test_a_tied_embedding_may_be_stored_as_the_head(tmp_path: Path):
    tiny_model("gpt2").save_pretrained(tmp_path)
    word = load_file(tmp_path / "model.safetensors")["transformer.wte.weight"]
    changes = {"transformer.wte.weight": None, "lm_head.weight": word}
    change_weights(tmp_path, **changes)
    model = load_backbone(TinyRun(tmp_path, NEXT_TOKEN).task)
    assert torch.equal(model.transformer.wte.weight, word)
    assert "missing tensor 'transformer.wte.weight'" in refusal(tmp_path, TEXTS)


def test_a_config_of_a_huge_model_is_refused_before_anything_is_allocated(gpt2: Path):
    config = json.loads((gpt2 / "config.json").read_text(encoding="utf-8"))
    for change, says in (
        ({"vocab_size": 2**31 - 1}, "has shape (30, 16), expected (2147483647, 16)"),
        ({"n_layer": 1000}, "missing tensor 'transformer.h.10.attn.c_attn.bias' (and 11975 more)"),
    ):
        (gpt2 / "config.json").write_text(json.dumps(config | change), encoding="utf-8")
        assert says in refusal(gpt2)


@pytest.mark.parametrize("heads", [-4, 0, "4"])
def test_a_number_of_heads_that_the_library_fails_on_later_is_refused(tmp_path: Path, heads):
    tiny_model("bert").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    config["num_attention_heads"] = heads
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(LayoutError, match="num_attention_heads must be a whole number above 0"):
        load_backbone(TinyRun(tmp_path, TEXTS).task)


def test_code_and_other_answers_that_a_config_asks_for_are_not_used(gpt2: Path):
    config = json.loads((gpt2 / "config.json").read_text(encoding="utf-8"))
    asked = {"auto_map": {"AutoConfig": "evil.Config"}, "return_dict": False, "num_labels": 10**9}
    (gpt2 / "config.json").write_text(json.dumps(config | asked), encoding="utf-8")
    (gpt2 / "evil.py").write_text("raise SystemExit('run')", encoding="utf-8")
    flat = build_flat_model(TinyRun(gpt2, NEXT_TOKEN), torch.device("cpu"))
    assert flat.outputs(*examples(NEXT_TOKEN))[0].shape[1] == 30


def test_the_loaded_model_has_its_hub_id_or_the_name_of_its_folder(gpt2: Path):
    task = TinyRun(gpt2, TEXTS).task
    model = load_backbone(task)
    assert model.name_or_path == model.config.name_or_path == f"../{gpt2.name}"
    task.hub_id = "owner/name"
    assert load_backbone(task).name_or_path == "owner/name"


def test_nothing_is_printed(gpt2: Path, capfd: pytest.CaptureFixture[str]):
    run = TinyRun(gpt2, TEXTS, checkpointing=True)
    build_flat_model(run, torch.device("cpu"))
    assert capfd.readouterr() == ("", "")


def test_a_module_that_the_backbone_lacks_is_named():
    assert module_path({"layer.000.q": "old"}, "layer.000.q") == "old"
    with pytest.raises(LayoutError, match=r"has no module 'layer.001.q'"):
        module_path({"layer.000.q": "old"}, "layer.001.q")


def test_a_model_that_differs_from_the_layout_is_refused(gpt2: Path, tmp_path: Path):
    run = TinyRun(gpt2, TEXTS, "full")
    tiny_model("gpt2", n_inner=8).save_pretrained(tmp_path / "other")
    other = load_backbone(TinyRun(tmp_path / "other", TEXTS).task)
    with pytest.raises(LayoutError, match=r"c_fc.bias' has shape \(8,\), expected \(64,\)"):
        tensor_parameters(run.layout.tensors, other)
    grown = load_backbone(run.task)
    grown.extra = torch.nn.Linear(2, 2)
    with pytest.raises(LayoutError, match=r"parameter 'extra.bias' that is in no layout"):
        tensor_parameters(run.layout.tensors, grown)
    assert with_adapters(grown, run.layout, run.task, run.adapters) is grown
