"""A task of one's own, from files to a trained and exported model, for texts and next tokens."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from own_tasks import write_own_task
from peft import PeftModel
from tiny_models import NEXT_TOKEN, TEXTS, tiny_model
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

import floss_sim.cli
from floss_sim.tasks import load_task


def run(monkeypatch, capfd, *arguments: str) -> dict:
    monkeypatch.setattr(sys, "argv", ["floss-sim", *arguments, "--json"])
    with pytest.raises(SystemExit) as stop:
        floss_sim.cli.main()
    out, err = capfd.readouterr()
    assert stop.value.code == 0, err
    return json.loads(out)


@pytest.mark.parametrize(
    ("family", "kind", "targets", "method"),
    [
        ("bert", TEXTS, ["query", "value"], ["floss", "--up-density", "1/4"]),
        ("gpt2", TEXTS, ["c_attn", "c_proj", "c_fc"], ["sparse-adapter", "--scope", "tensor"]),
        ("gpt2", NEXT_TOKEN, ["all"], ["ffa"]),
        ("llama", NEXT_TOKEN, ["q", "v"], ["floss", "--up-density", "1/16"]),
    ],
)
def test_texts_train_from_files_and_the_adapter_loads(
    monkeypatch, capfd, tmp_path: Path, family: str, kind: str, targets: list[str], method
):
    path = write_own_task(tmp_path, family, kind, targets)
    found = run(monkeypatch, capfd, "task", "check", str(path), "--rank", "2")
    assert (found["train_examples"], found["clients"]) == (36, 6)
    out = tmp_path / "run"
    common = ("run", "--task", str(path), "--rank", "2", "--out", str(out), "--eval-every", "1")
    first = run(monkeypatch, capfd, *common, "--method", *method, "--rounds", "2")
    assert first["rounds"] == 2
    assert 0 <= first["test_accuracy"] <= 1
    more = run(monkeypatch, capfd, *common, "--method", *method, "--rounds", "3")
    assert more["up_bytes"] > first["up_bytes"] > 0
    auto = AutoModelForSequenceClassification if kind == TEXTS else AutoModelForCausalLM
    labels = {"num_labels": 2} if kind == TEXTS else {}
    backbone = auto.from_pretrained(tmp_path / "backbone", **labels)
    adapted = PeftModel.from_pretrained(backbone, out / "adapter")
    assert any(p.any() for n, p in adapted.named_parameters() if "lora_B" in n)


def test_a_check_counts_tokens_classes_and_what_is_dealt(monkeypatch, capfd, tmp_path: Path):
    path = write_own_task(tmp_path, "gpt2", TEXTS, ["all"])
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    users = [{**row, "user": f"u{i % 5}"} for i, row in enumerate(rows)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, users)), encoding="utf-8")
    sets = ("data.group=user", "preprocess.max_length=6", "data.classes=4")
    fleet = ("--partition", "column", "--clients", "3", "--rank", "2")
    arguments = ("task", "check", str(path), *fleet, *(a for one in sets for a in ("--set", one)))
    found = run(monkeypatch, capfd, *arguments)
    content = load_task(str(path), changes=dict(one.split("=") for one in sets[:1])).content
    lengths = (content.train[0] >= 0).sum(axis=1)
    assert found["cut_texts"] == (lengths > 6).mean() > 0
    assert 0 < found["dealt_examples"] < found["train_examples"] == 36
    assert [(c["class"], c["label"]) for c in found["class_examples"]] == [(0, "a"), (1, "b")]
    for number, c in enumerate(found["class_examples"]):
        for part in ("train", "validation", "test"):
            assert c[part] == (getattr(content, part)[1] == number).sum()
    monkeypatch.setattr(sys, "argv", ["floss-sim", *arguments])
    with pytest.raises(SystemExit):
        floss_sim.cli.main()
    said = " ".join(capfd.readouterr().out.replace("│", " ").split())
    one, other = (f"{c['class']}: {c['label']} {c['train']}" for c in found["class_examples"])
    assert "2 of 4 classes occur" in said
    assert f"{one}, {other}" in said
    assert f"up to 6 tokens; {found['cut_texts']:.1%} of the training texts are cut" in said
    assert f"examples dealt {found['dealt_examples']} of 36" in said


def test_a_whole_model_that_trained_is_saved_whole(monkeypatch, capfd, tmp_path: Path):
    path = write_own_task(tmp_path, "gpt2", TEXTS, ["all"])
    out = tmp_path / "run"
    common = ("run", "--task", str(path), "--rounds", "1", "--out", str(out))
    found = run(monkeypatch, capfd, *common, "--method", "bitfit")
    assert "rank" not in found
    trained = AutoModelForSequenceClassification.from_pretrained(out / "model")
    before = tiny_model("gpt2").transformer.h[0].mlp.c_fc
    after = trained.transformer.h[0].mlp.c_fc
    assert not (after.bias == before.bias).all()
    assert (after.weight == before.weight).all()


def test_a_check_of_a_csv_file_says_how_its_cells_are_written(monkeypatch, capfd, tmp_path: Path):
    path = write_own_task(tmp_path, "gpt2", TEXTS, ["all"])
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    lines = [f"{n},5;{row['text']};{row['about']}\n" for n, row in enumerate(rows)]
    (tmp_path / "rows.csv").write_text("score;text;about\n" + "".join(lines), encoding="utf-8")
    plain = load_task(str(path)).content.digest
    sets = ("--set", "data.dataset=rows.csv")
    found = run(monkeypatch, capfd, "task", "check", str(path), "--rank", "2", *sets)
    form = {"delimiter": ";", "decimal": ",", "decimal_stated": False}
    assert found["files"] == {"rows": {"train": 48}, "csv": {"train": form}, "left_out": []}
    assert load_task(str(path), changes={"data.dataset": "rows.csv"}).content.digest == plain
    monkeypatch.setattr(sys, "argv", ["floss-sim", "task", "check", str(path), *sets])
    with pytest.raises(SystemExit):
        floss_sim.cli.main()
    said = " ".join(capfd.readouterr().out.replace("│", " ").split())
    assert "CSV cells end at semicolon; decimal sign ," in said
    assert "equal content" in said
