"""Backbones from folders, good and bad."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import IMAGES, LABELS, NEXT_TOKEN, TEXTS, TinyRun, tiny_model

from floss_sim.errors import LayoutError, TaskError
from floss_sim.training.models.flat_model import build_flat_model
from floss_sim.training.models.loading import load_backbone
from floss_sim.training.models.parameter_names import existing_name, tensor_parameters
from floss_sim.training.models.peft_adapters import with_adapters


@pytest.fixture
def gpt2(tmp_path: Path) -> Path:
    tiny_model("gpt2").save_pretrained(tmp_path)
    return tmp_path


def change_weights(folder: Path, **changes: torch.Tensor | None) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path) | changes
    save_file({n: w for n, w in weights.items() if w is not None}, path, {"format": "pt"})


def refusal(folder: Path, kind: str = TEXTS) -> str:
    with pytest.raises(TaskError, match="cannot load backbone") as caught:
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
    refusal(gpt2, IMAGES)


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


def test_nothing_is_printed(gpt2: Path, capfd: pytest.CaptureFixture[str]):
    run = TinyRun(gpt2, TEXTS, checkpointing=True)
    build_flat_model(run, torch.device("cpu"))
    assert capfd.readouterr() == ("", "")


def test_the_first_spelling_that_exists_is_taken():
    assert existing_name(["new", "old"], {"old", "older"}) == "old"
    with pytest.raises(LayoutError, match="has no parameter or module 'new'"):
        existing_name(["new", "old"], set())


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
    assert with_adapters(grown, run.layout, run.task, 2) is grown
