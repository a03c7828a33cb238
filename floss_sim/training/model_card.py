"""Model card of an export: how to load it, how it was trained, and its results.

The card is the ``README.md`` of an exported folder, with the front matter of the hub. Its block of
code loads the model with transformers and PEFT alone. It names no place of the machine that wrote
it: a backbone is its hub id, or the name of a folder that the reader puts beside the export.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from floss_sim.families import IMAGES, NEXT_TOKEN
from floss_sim.units import format_bytes
from floss_sim.vectors.layout import ADAPTER_LAYOUTS

if TYPE_CHECKING:
    from floss_sim.runs.config import RunConfig
    from floss_sim.tasks import Task

CARD = "README.md"
ON_TEST = "test accuracy (90 % interval)"  # name of a row
_PARTS = ("training", "validation", "test")
_TEXTS = ("AutoModelForSequenceClassification", "text-classification")
_KINDS = {  # class of transformers, and the hub's name of the kind
    IMAGES: ("AutoModelForImageClassification", "image-classification"),
    NEXT_TOKEN: ("AutoModelForCausalLM", "text-generation"),
}


def training_facts(config: RunConfig) -> dict[str, str]:
    """Return how a run trains, in words by name: rows of a card, without results.

    Raises:
        TaskError: The data cannot be read.
    """
    task, fleet, server = config.task, config.fleet, config.server
    parts = (task.content.train, task.content.validation, task.content.test)
    counts = [f"{len(y):,} {name}" for (_, y), name in zip(parts, _PARTS, strict=True)]
    classes = f", {task.labels} classes" if task.labels else ""
    law = f"dirichlet {fleet.alpha:g}" if fleet.law == "dirichlet" else fleet.law
    return {
        "task": f"{task.name} ({task.kind}{classes})",
        "data": f"{task.data_name}: {', '.join(counts)} examples",
        "SHA-256 of the examples": task.content.digest,
        "method": f"{config.method.name}, {config.describe()}{_lora_words(config)}",
        "clients": f"{fleet.clients:,} simulated, partition {law}; {server.cohort:,} a round",
        "local training": _local_words(config),
        "server": _server_words(config),
        "seed": str(config.seed),
    }


def bytes_words(down: int, up: int) -> str:
    """Return the bytes of all transfers in words, those of both ways beside them."""
    ways = f"{format_bytes(down)} down, {format_bytes(up)} up"
    return f"{format_bytes(down + up)}: {ways}"


def _lora_words(config: RunConfig) -> str:
    if config.method.trains not in ADAPTER_LAYOUTS:
        return ""
    lora = config.task.lora
    return f"; {', '.join(lora.targets)} adapted, alpha {lora.alpha:g}, dropout {lora.dropout:g}"


def _server_words(config: RunConfig) -> str:
    if config.method.server_averages:
        return "adds the mean update"
    return f"{config.server.optimizer}, learning rate {config.server.learning_rate:g}"


def _local_words(config: RunConfig) -> str:
    client, seeds = config.client, config.method.zeroth_order
    if seeds:
        rate = seeds.learning_rate(client.learning_rate)
        return f"{seeds.steps} steps a round, learning rate {rate:g}, batch {client.batch_size}"
    epochs = "1 epoch" if client.epochs == 1 else f"{client.epochs} epochs"
    return (
        f"{epochs} of SGD a round, learning rate {client.learning_rate:g}, momentum "
        f"{client.momentum:g}, batch {client.batch_size}"
    )


def model_card(task: Task, facts: Mapping[str, str], rank: int | None) -> str:
    """Return the text of a card.

    Args:
        task: The task.
        facts: Rows of the card's table by name, such as :func:`training_facts` and results.
        rank: Rank of the adapters; None for a whole model.
    """
    kind = "DoRA" if task.lora.dora else "LoRA"
    what = "whole model" if rank is None else f"{kind} adapter of rank {rank}"
    lines = [
        *_front_matter(task, rank),
        f"# {_cell(task.name)}: {what}",
        "",
        "Trained by simulated federated learning with floss-sim. To load it in this folder:",
        "",
        "```python",
        *loading_lines(task, rank),
        "```",
        "",
        *(f"- {hint}" for hint in _hints(task, rank)),
    ]
    rows = [f"| {_cell(name)} | {_cell(said)} |" for name, said in facts.items()]
    return "\n".join([*lines, *(["", "| | |", "|---|---|", *rows] if rows else []), ""])


def loading_lines(task: Task, rank: int | None) -> list[str]:
    """Return lines of Python that load an export: ``model``, and ``tokenizer`` for texts.

    Args:
        task: The task.
        rank: Rank of the adapters; None for a whole model.
    """
    library, _ = _KINDS.get(task.kind, _TEXTS)
    reads = ["tokenizer"] * (task.tokenizer_use is not None)
    parts = {"tokenizer": "AutoTokenizer", "config": "AutoConfig"}
    opened = [*reads, "config"] if rank else reads
    classes = [library, *(parts[name] for name in opened)]
    calls = ", ".join(f"{parts[name]}.from_pretrained(folder)" for name in opened)
    lines = [
        f"from transformers import {', '.join(sorted(classes))}",
        f'folder, base = ".", {json.dumps(base_reference(task))}' if rank else 'folder = "."',
        *([f"{', '.join(opened)} = {calls}"] if opened else []),
    ]
    if rank is None:
        return [*lines, f"model = {library}.from_pretrained(folder).eval()"]
    head = ", ignore_mismatched_sizes=True" if task.labels else ""
    return [
        "from peft import PeftModel",
        *lines,
        f"model = {library}.from_pretrained(base, config=config{head})",
        "model = PeftModel.from_pretrained(model, folder).eval()",
    ]


def base_reference(task: Task) -> str:
    """Return a backbone's hub id, or the path of its local folder if it lies beside an export."""
    return task.hub_id or f"../{task.backbone_name}"


def _front_matter(task: Task, rank: int | None) -> list[str]:
    """Return the lines between which the hub reads a card's data; JSON's texts are YAML's."""
    known = {} if task.hub_id is None else {"base_model": task.hub_id}
    data = known | {
        "library_name": "transformers" if rank is None else "peft",
        "pipeline_tag": _KINDS.get(task.kind, _TEXTS)[1],
        "tags": ["federated-learning", "floss-sim", *(["lora"] if rank else [])],
    }
    return ["---", *(f"{key}: {json.dumps(value)}" for key, value in data.items()), "---", ""]


def _hints(task: Task, rank: int | None) -> Iterator[str]:
    """Yield what a reader of the lines has to know: the backbone, the inputs and the classes."""
    weights = " ".join(path.name for path in task.backbone_files.hashed_files)
    check = f"`cat {weights} | sha256sum` in its folder gives {task.backbone_hash}"
    if rank and task.hub_id:
        yield f"The base model is {task.hub_id}; {check}."
    elif rank:
        yield (
            f"The base model is a local folder, `{_cell(task.backbone_name)}`{_inside(task)}: put "
            f"it beside this folder, or write its place or its hub id into the lines. {check}."
        )
    if rank and task.backbone_files.has_adapter:
        yield "Remove adapter_config.json from the base model's folder: it was not loaded here."
    if task.tokenizer_use is not None:
        yield (
            'Logits: `model(**tokenizer(["a text"], truncation=True, padding=True, '
            f'return_tensors="pt")).logits`. Texts are cut at {task.preprocess.max_length} tokens.'
        )
    elif task.normalisation is None:
        yield "Logits: `model(pixel_values=images).logits`; images are float32 arrays, unchanged."
    else:
        yield (
            "Logits: `model(pixel_values=images).logits`; images are resized and normalised as "
            f"preprocessor_config.json says: {task.normalisation.describe()}."
        )
    if task.labels:
        yield f"Names of the {task.labels} classes by number: `model.config.id2label`."


def _inside(task: Task) -> str:
    """Return where in this package a packaged backbone is; empty for others."""
    root = Path(__file__).parents[2]
    packaged = task.backbone_path.is_relative_to(root / "floss_sim")
    return f" ({task.backbone_path.relative_to(root)} of floss-sim)" if packaged else ""


def _cell(text: str) -> str:
    """Return a text of one line for a cell of a table, or for a title."""
    return " ".join(text.replace("|", "\\|").split())
