"""Small tasks on data of one's own: the TOML file, a tokenizer and a config, without weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

from floss_sim.tasks import Task, load_task

TASK = """\
name = "small"
kind = "{kind}"
[data]
dataset = "{dataset}"
input = "{input}"
{labels}
validation = {validation}
test = {test}
[backbone]
model = "backbone"
[preprocess]
{preprocess}
[partition]
clients = 2
law = "iid"
[lora]
targets = ["all"]
alpha = 16
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
WORDS = 40


def text_task(
    folder: Path, dataset: str, *, kind: str = "text-classification", classes: int = 3,
    test: int | str = 4, validation: int = 4, **changes: Any,
) -> Task:  # fmt: skip
    """Return a task of texts ``w1 w2`` in a column ``text``, with labels in ``label``."""
    words = {"[UNK]": 0} | {f"w{number}": number + 1 for number in range(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(words, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    sizes = {"n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 8, "vocab_size": len(words)}
    config = {"model_type": "gpt2", **sizes}
    labels = "" if kind == "next-token" else f'label = "label"\nclasses = {classes}'
    values = {"input": "text", "labels": labels, "preprocess": "max_length = 8"}
    path = _write(folder, config, kind=kind, dataset=dataset, test=json.dumps(test),
                  validation=validation, **values)  # fmt: skip
    tokenizer.save(str(folder / "backbone" / "tokenizer.json"))
    return load_task(str(path), changes={key.replace("__", "."): v for key, v in changes.items()})


def image_task(
    folder: Path, dataset: str, *, classes: int = 3, test: int | str = "test", validation: int = 2,
    **changes: Any,
) -> Task:  # fmt: skip
    """Return a task of images of 8 x 8 pixels."""
    config = {"model_type": "vit", "image_size": 8}
    labels = f'label = "label"\nclasses = {classes}'
    path = _write(folder, config, kind="image-classification", dataset=dataset, input="image",
                  labels=labels, preprocess="image_size = 8", test=json.dumps(test),
                  validation=validation)  # fmt: skip
    return load_task(str(path), changes={key.replace("__", "."): v for key, v in changes.items()})


def _write(folder: Path, config: dict[str, Any], **values: Any) -> Path:
    (folder / "backbone").mkdir(exist_ok=True, parents=True)
    (folder / "backbone" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    path = folder / "small.toml"
    path.write_text(TASK.format(**values), encoding="utf-8")
    return path


def draw_images(folder: Path, *names: str) -> None:
    """Write one picture of different random pixels for each name."""
    draw = np.random.default_rng(len(names))
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
