"""What an export holds besides the weights: the same inputs give the same logits elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from cards import card_lines
from tiny_models import (
    IMAGES,
    LABELS,
    NEXT_TOKEN,
    TEXTS,
    WORDS,
    TinyRun,
    examples,
    tiny_model,
)
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2ForSequenceClassification

from floss_sim.families import model_inputs
from floss_sim.tasks.normalisation import Normalisation
from floss_sim.tasks.text import open_tokenizer, tokenise, tokenizer_use
from floss_sim.training import export_adapter, replace_adapter
from floss_sim.training.memory_bounds import example_bytes
from floss_sim.training.models.flat_model import FlatModel, build_flat_model
from floss_sim.training.models.inputs import reader
from floss_sim.wire import encode

CPU = torch.device("cpu")
SEVEN = {"num_labels": 7, "id2label": None}
SENTENCES = ["w1 w2 w3 w4 w5 w6 w7 w8", "w9", "w10 w11"]


def write_tokenizer(folder: Path) -> None:
    words = {f"w{number}": number for number in range(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    sides = {"truncation_side": "left", "padding_side": "left", "tokenizer_class": "BertTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(sides), encoding="utf-8")


def exported(run: TinyRun, folder: Path) -> FlatModel:
    """Write a model with random values as an export; return the model."""
    draw = np.random.default_rng(0)
    offsets = draw.normal(scale=0.3, size=run.layout.entries).astype(np.float32)
    export_adapter(run, encode(run.layout, offsets, np.ones(offsets.size, bool)), folder)
    flat = build_flat_model(run, CPU)
    flat.load(flat.base + offsets)
    return flat


def text_run(folder: Path, family: str, trains: str) -> TinyRun:
    tiny_model(family).save_pretrained(folder)
    write_tokenizer(folder)
    run = TinyRun(folder, TEXTS, trains)
    run.task.tokenizer_use = tokenizer_use(folder, model_inputs(run.task.backbone_config, run.kind))
    run.task.preprocess.max_length = 5
    run.task.content = SimpleNamespace(names=("cat", "dog"))
    return run


def run_card(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the lines of a card in its folder; return the names that they define."""
    lines = card_lines(folder)
    assert len(lines) <= 6
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec("\n".join(lines), names)  # noqa: S102 (the card's own lines)
    return names


@pytest.mark.parametrize("trains", ["lora", "full", "merged"])
@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
def test_texts_get_the_same_logits_from_the_lines_of_the_card(
    family: str, trains: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = text_run(tmp_path / "backbone", family, trains)
    ours = exported(run, tmp_path / "export")
    notes = json.loads((tmp_path / "export" / "floss_sim.json").read_text(encoding="utf-8"))
    named = {"0": "cat", "1": "dog", "2": "2"}
    assert notes["id2label"] == named
    assert (notes["num_labels"], notes["max_length"], notes["backbone"]) == (LABELS, 5, "backbone")
    read = run_card(tmp_path / "export", monkeypatch)
    loaded, library = read["model"], read["tokenizer"]
    assert {str(n): name for n, name in loaded.config.id2label.items()} == named
    inputs = library(SENTENCES, truncation=True, padding=True, return_tensors="pt")
    ids = tokenise([SENTENCES], open_tokenizer(run.folder, 5)).ids
    with torch.no_grad():
        expected, _ = ours.outputs(torch.from_numpy(ids), torch.zeros(3))
        found = loaded(**inputs).logits
    # Adapters that are merged into weights are multiplied in another order.
    near = 1e-5 if trains == "merged" else 0
    assert torch.allclose(found, expected, rtol=near, atol=near)


@pytest.mark.parametrize(
    ("stored", "kind"), [("half", TEXTS), ("other classes", TEXTS), ("float32", NEXT_TOKEN)]
)
def test_a_card_loads_backbones_that_are_stored_otherwise(
    stored: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "backbone"
    model = tiny_model("gpt2")
    if stored == "other classes":
        model = GPT2ForSequenceClassification(GPT2Config(**{**model.config.to_dict(), **SEVEN}))
    (model.bfloat16() if stored == "half" else model).save_pretrained(folder)
    write_tokenizer(folder)
    run = TinyRun(folder, kind)
    run.task.tokenizer_use = tokenizer_use(folder, model_inputs(run.task.backbone_config, run.kind))
    run.task.preprocess.max_length = 5
    ours = exported(run, tmp_path / "export")
    read = run_card(tmp_path / "export", monkeypatch)
    inputs = read["tokenizer"](SENTENCES[:1], return_tensors="pt", truncation=True)
    ids = tokenise([SENTENCES[:1]], open_tokenizer(folder, 5)).ids
    with torch.no_grad():
        expected, _ = ours.outputs(torch.from_numpy(ids), torch.zeros(1))
        found = read["model"](**inputs).logits
    assert torch.equal(found if kind == TEXTS else found[0, :-1], expected)


def test_a_hub_id_stands_for_the_backbone(tmp_path: Path):
    run = text_run(tmp_path / "backbone", "bert", "lora")
    run.task.hub_id = run.task.backbone_name = "owner/name"
    exported(run, tmp_path / "export")
    adapter = json.loads((tmp_path / "export" / "adapter_config.json").read_text())
    assert adapter["base_model_name_or_path"] == "owner/name"
    card = (tmp_path / "export" / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(card.split("---\n")[1])
    assert front == {
        "base_model": "owner/name",
        "library_name": "peft",
        "pipeline_tag": "text-classification",
        "tags": ["federated-learning", "floss-sim", "lora"],
    }
    assert 'folder, base = ".", "owner/name"' in card_lines(tmp_path / "export")
    files = [*(tmp_path / "export").iterdir()]
    assert not [path.name for path in files if str(tmp_path).encode() in path.read_bytes()]


def test_an_image_model_is_exported_with_its_normalisation(tmp_path: Path):
    tiny_model("vit").save_pretrained(tmp_path / "backbone")
    run = TinyRun(tmp_path / "backbone", IMAGES)
    run.task.normalisation = Normalisation((0.1, 0.2, 0.3), (0.5, 0.6, 0.7), 1 / 127.5, "file")
    flat = exported(run, tmp_path / "export")
    stated = json.loads((tmp_path / "export" / "preprocessor_config.json").read_text())
    assert stated["size"] == {"height": 8, "width": 8}
    pixels = (examples(IMAGES)[0] * 20 + 128).clamp(0, 255).to(torch.uint8)
    read = flat.inputs.read(pixels)["pixel_values"]
    mean, std = (torch.tensor(stated[f"image_{of}"]).view(-1, 1, 1) for of in ("mean", "std"))
    assert torch.allclose(read, (pixels * stated["rescale_factor"] - mean) / std, atol=1e-5)
    run.task.normalisation = None
    exported(run, tmp_path / "arrays")
    assert not (tmp_path / "arrays" / "preprocessor_config.json").exists()
    notes = json.loads((tmp_path / "arrays" / "floss_sim.json").read_text(encoding="utf-8"))
    assert notes["inputs"] == "float32 arrays, unchanged"


def test_a_llama_config_without_a_longest_text_has_the_librarys(tmp_path: Path):
    tiny_model("llama").save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    stated = json.loads(path.read_text(encoding="utf-8"))
    assert stated.pop("max_position_embeddings") == 12
    path.write_text(json.dumps(stated), encoding="utf-8")
    run = TinyRun(tmp_path, TEXTS)
    assert reader(run.task).positions == 2048
    found = example_bytes(run)
    run.task.backbone_config = {**stated, "max_position_embeddings": 2048}
    assert found == example_bytes(run)


def test_an_export_replaces_only_files_of_an_earlier_one(tmp_path: Path):
    run = text_run(tmp_path / "backbone", "bert", "lora")
    blob = encode(run.layout, *(np.ones(run.layout.entries, kind) for kind in (np.float32, bool)))
    folder = tmp_path / "adapter"
    replace_adapter(run, blob, folder)
    written = {path.name for path in folder.iterdir()}
    assert written >= {"adapter_model.safetensors", "tokenizer.json", "floss_sim.json"}
    assert set(json.loads((folder / "floss_sim.json").read_text())["files"]) == written
    (folder / "NOTES.md").write_text("mine")
    (folder / "preprocessor_config.json").write_text("mine")
    run.task.tokenizer_use = None
    replace_adapter(run, blob, folder)
    own = {"tokenizer.json", "tokenizer_config.json"}
    mine = {"NOTES.md", "preprocessor_config.json"}
    assert {path.name for path in folder.iterdir()} == written - own | mine
    assert {(folder / name).read_text() for name in mine} == {"mine"}
    replace_adapter(run, blob, folder)
    assert {path.name for path in folder.iterdir()} == written - own | mine
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "backbone"]
