"""Checks of a family in training: both learners, one round, sizes, and reload in plain PEFT."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from tiny_families import FAMILIES, TinyFamily, save_tiny
from tiny_models import IMAGES, LABELS, NEXT_TOKEN, WORDS
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
)

from floss_sim import RunConfig, dense, load_task, open_learner
from floss_sim.families.backbone import TaskModel
from floss_sim.protocol import NO_STATE, Arrival
from floss_sim.training import choose_learner, export_adapter
from floss_sim.training.learners.torch_learner import TorchLearner
from floss_sim.training.models.flat_model import build_flat_model
from floss_sim.vectors.layout import Layout
from floss_sim.vectors.top_k import Vector
from floss_sim.wire import decode, encode, predict_nbytes

AUTO = {
    IMAGES: AutoModelForImageClassification,
    NEXT_TOKEN: AutoModelForCausalLM,
    "text-classification": AutoModelForSequenceClassification,
}
TASK = """\
name = "tiny"
kind = "{kind}"
[data]
dataset = "{dataset}"
{columns}
validation = 6
test = 6
[backbone]
model = "backbone"
[preprocess]
{preprocess}
[partition]
clients = 4
law = "iid"
[lora]
targets = {targets}
alpha = 16
[client]
learning_rate = 0.02
momentum = 0.9
batch_size = 4
epochs = 1
[server]
optimizer = "fedadam"
learning_rate = 5e-3
cohort = 3
"""
AGREE = 1e-4  # largest difference of an update, as a fraction of its largest entry
SAME_LOGITS = 1e-5


@dataclass(frozen=True)
class FamilyReport:
    """What a family does with adapters of one kind.

    Attributes:
        learner: The learner that trains it: ``"bank"`` or ``"sequential"``.
        reason: Why the bank does not train it; empty if it does.
        bank_gap: Largest difference of an update of the bank from the sequential learner's, as a
            fraction of its largest entry; None without a bank.
        reload_gap: Largest difference of logits of the exported adapter in plain PEFT.
        accuracy: Validation accuracy after one round, 0 to 1.
        entries: Entries that train, as an estimate predicts them and in the run's layout.
        nbytes: Bytes of a message of the signs of all entries, as predicted and as encoded.
    """

    learner: str
    reason: str
    bank_gap: float | None
    reload_gap: float
    accuracy: float
    entries: tuple[int, int]
    nbytes: tuple[int, int]

    @property
    def problems(self) -> list[str]:
        """What is not as it must be."""
        found = {
            f"bank differs by {self.bank_gap}": (self.bank_gap or 0) > AGREE,
            f"reload differs by {self.reload_gap:.1e}": self.reload_gap > SAME_LOGITS,
            f"entries {self.entries}": len({*self.entries}) > 1,
            f"bytes {self.nbytes}": len({*self.nbytes}) > 1,
            f"accuracy {self.accuracy}": not 0 <= self.accuracy <= 1,
        }  # fmt: skip
        return [words for words, holds in found.items() if holds]


def write_family_task(
    case: str, folder: Path, rates: Mapping[str, float] | None = None, **lora: Any
) -> RunConfig:
    """Write a tiny model, examples and a task file; return dense LoRA of rank 2 on it.

    Args:
        case: A key of ``FAMILIES``.
        folder: The folder; a model that lies there stays.
        rates: Rates of the model's own dropouts, by key of its config.
        lora: Keys of the task's ``[lora]``.
    """
    family = FAMILIES[case]
    if not (folder / "backbone" / "config.json").is_file():
        save_tiny(case, folder / "backbone", **(rates or {}))
        _write_examples(family, folder)
    changes = {f"lora.{key}": value for key, value in lora.items()}
    task = load_task(str(folder / "tiny.toml"), changes=changes)
    return RunConfig.of(task, dense(), rank=2, seed=3)


def _write_examples(family: TinyFamily, folder: Path) -> None:
    draw = np.random.default_rng(0)
    count, targets = 42, json.dumps(list(family.targets))
    if family.kind == IMAGES:
        x, y = draw.normal(size=(count, 3, 8, 8)).astype(np.float32), np.arange(count) % LABELS
        np.savez(folder / "data.npz", x=x, y=y)
        values = {"dataset": "data.npz", "columns": f"classes = {LABELS}", "preprocess": ""}
    else:
        words = {f"w{number}": number for number in range(WORDS)}
        tokenizer = Tokenizer(models.WordLevel(words, unk_token="w4"))  # noqa: S106
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer.save(str(folder / "backbone" / "tokenizer.json"))
        rows = [
            {"text": " ".join(f"w{n}" for n in draw.integers(4, WORDS, draw.integers(3, 10))),
             "label": number % LABELS}
            for number in range(count)
        ]  # fmt: skip
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "rows.jsonl").write_text(lines, encoding="utf-8")
        label = "" if family.kind == NEXT_TOKEN else f'\nlabel = "label"\nclasses = {LABELS}'
        values = {
            "dataset": "rows.jsonl", "columns": f'input = "text"{label}',
            "preprocess": "max_length = 9",
        }  # fmt: skip
    text = TASK.format(kind=family.kind, targets=targets, **values)
    (folder / "tiny.toml").write_text(text, encoding="utf-8")


def check_family(case: str, folder: Path, **lora: Any) -> FamilyReport:
    """Train one round with each learner that serves a family, and reload what came out.

    Args:
        case: A key of ``FAMILIES``.
        folder: Folder of the model, the examples and the export.
        lora: Keys of the task's ``[lora]``.
    """
    config = write_family_task(case, folder, **lora)
    choice = choose_learner(config, "bank", "cpu")
    kinds = ["sequential"] if choice.reason else ["bank", "sequential"]
    learners = [open_learner(config, "cpu", learner=kind) for kind in kinds]
    updates = [train_round(learner) for learner in learners]
    gaps = [
        float(np.abs(one - other).max() / np.abs(other).max())
        for one, other in zip(updates[0], updates[-1], strict=True)
    ]
    task = config.task
    model = TaskModel("tiny", task.backbone_config, task.kind, task.labels)
    return FamilyReport(
        learner=kinds[0],
        reason=choice.reason,
        bank_gap=max(gaps) if len(kinds) > 1 else None,
        reload_gap=_reload_gap(config, learners[0].model(), folder / "export"),
        accuracy=learners[0].evaluate(1).accuracy,
        entries=(model.trained_model(config.adapters).entries, config.layout.entries),
        nbytes=_message_bytes(config.layout),
    )


def train_round(learner: TorchLearner) -> list[Vector]:
    """Return the updates of a first cohort; the server takes one step with them."""
    sent = [learner.dispatch(client, client) for client in range(3)]
    uploads = [learner.train(dispatch, NO_STATE) for dispatch in sent]
    arrivals = [
        Arrival(dispatch, upload, 1 / 3, 0) for dispatch, upload in zip(sent, uploads, strict=True)
    ]
    learner.aggregate(arrivals)
    return [decode(learner.layout, upload.blob)[0] for upload in uploads]


def _message_bytes(layout: Layout) -> tuple[int, int]:
    """Return the predicted and the encoded bytes of the signs of all entries."""
    values_N = np.random.default_rng(0).normal(size=layout.entries).astype(np.float32)
    blob = encode(layout, values_N, np.ones(layout.entries, dtype=bool), values="sign")
    return predict_nbytes(layout.entries, layout.entries, "sign"), len(blob)


def _reload_gap(config: RunConfig, model: bytes, folder: Path) -> float:
    """Return the largest difference of logits of an exported adapter in plain PEFT."""
    export_adapter(config, model, folder)
    flat = build_flat_model(config, torch.device("cpu"))
    flat.load(flat.base + decode(config.layout, model)[0])
    arguments = flat.inputs.read(torch.from_numpy(config.task.content.test[0]))
    library = AutoConfig.from_pretrained(folder)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        base = AUTO[config.task.kind].from_pretrained(
            config.task.backbone_path, config=library, ignore_mismatched_sizes=True
        )
        loaded = PeftModel.from_pretrained(base, folder).eval()
        ours, theirs = (one(**arguments).logits for one in (flat.model, loaded))
    return float((ours - theirs).abs().max())
