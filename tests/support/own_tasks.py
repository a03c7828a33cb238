"""Task of one's own on disk: rows, a tiny backbone with its tokenizer, and the task file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from tiny_models import TEXTS, WORDS, tiny_model
from tokenizers import Tokenizer, models, pre_tokenizers

TASK = """\
name = "own"
kind = "{kind}"

[data]
dataset = "rows.jsonl"
input = "text"
{labels}
validation = 6
test = 6

[backbone]
model = "backbone"

[preprocess]
max_length = 10

[partition]
clients = 6
law = "iid"

[lora]
targets = {targets}
alpha = 16
dropout = 0.1

[client]
learning_rate = 0.05
momentum = 0.9
batch_size = 4
epochs = 1

[server]
optimizer = "fedadam"
learning_rate = 5e-3
cohort = 2
"""
LABELS = 'label = "about"\nclasses = 2'


def write_own_task(folder: Path, family: str, kind: str, targets: list[str]) -> Path:
    """Write rows, a tiny backbone with its tokenizer, and the task that names them."""
    tiny_model(family).save_pretrained(folder / "backbone")
    words = {f"w{number}": number for number in range(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "backbone" / "tokenizer.json"))
    draw = np.random.default_rng(0)
    rows = [
        {
            "text": " ".join(f"w{n}" for n in draw.integers(1, WORDS, 3 + i % 9)),
            "about": "ab"[i % 2],
        }
        for i in range(48)
    ]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    path = folder / "own.toml"
    labels = LABELS if kind == TEXTS else ""
    path.write_text(
        TASK.format(kind=kind, labels=labels, targets=json.dumps(targets)), encoding="utf-8"
    )
    return path
