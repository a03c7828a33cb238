"""Test metrics and export of a trained model."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PretrainedConfig

from floss_sim.families import IMAGES
from floss_sim.families.sizes import side_reader
from floss_sim.files import replace_folder
from floss_sim.records.on_test import ModelOnTest
from floss_sim.runs.config import RunConfig
from floss_sim.tasks import Task
from floss_sim.tasks.normalisation import processor_file
from floss_sim.tasks.text import TOKENIZER, TOKENIZER_CONFIG, export_tokenizer_config
from floss_sim.training.determinism import make_deterministic
from floss_sim.training.device_data import device_tensors
from floss_sim.training.evaluation import predictions
from floss_sim.training.model_card import CARD, model_card
from floss_sim.training.models.adapted_weights import merged_model
from floss_sim.training.models.parameter_names import TransformersModel
from floss_sim.training.models.seed_model import build_model
from floss_sim.training.models.square_adapters import merge_squares
from floss_sim.vectors.layout import ADAPTED_WEIGHT
from floss_sim.wire import decode

_NOTES = "floss_sim.json"
_FILES = "files"  # key of the names of an export's files


def measure_on_test(config: RunConfig, blobs: Sequence[bytes], device: str) -> list[ModelOnTest]:
    """Return what model messages get right on the test split; the backbone is loaded once.

    Args:
        config: The run's configuration.
        blobs: The encoded model messages.
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises:
        PayloadError: A message does not match the run's layout.
    """
    torch.set_num_threads(1)
    place = torch.device(device)
    make_deterministic(place)
    vectors = [decode(config.layout, blob)[0] for blob in blobs]
    split = device_tensors(config.task.content.test, place)
    model = build_model(config, place)
    made = []
    for vector_N in vectors:
        found = predictions(model, vector_N, *split)
        made.append(ModelOnTest(found.accuracy, found.loss, found.right))
    return made


def write_adapter(config: RunConfig, blob: bytes, folder: Path, facts: Mapping[str, str]) -> None:
    """Write a model message as a folder of safetensors, with a model card.

    With adapters (``lora``, ``ffa``, ``square``, ``heads``) the folder can be loaded by
    ``PeftModel.from_pretrained``; it includes A even if A was frozen, the product B R as B, and
    ``config.json`` has the classes. Otherwise it holds the whole model, for
    ``AutoModelFor...from_pretrained``. In layout ``merged`` the adapters are merged into it: the
    rank of what the server has changed grows with the rounds. Beside the weights stands what the
    same logits need elsewhere, see :func:`write_inputs`. No file names a place of this machine.

    Args:
        config: The run's configuration.
        blob: The encoded model message.
        folder: The folder to write; other files in it stay.
        facts: Rows of the card's table.

    Raises:
        PayloadError: The message does not match the run's layout.
    """
    vector_N, _ = decode(config.layout, blob)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD).unlink(missing_ok=True)  # PEFT would read it
    others = {path.name for path in folder.iterdir()}
    flat = build_model(config, torch.device("cpu"))
    flat.load(flat.base + vector_N)
    _name_classes(config.task, flat.model.config)
    merge_squares(flat.model)
    model = flat.model
    if isinstance(model, PeftModel) and any(
        tensor.kind == ADAPTED_WEIGHT for tensor in config.layout.tensors
    ):
        model = merged_model(model)
    _save_weights(model, folder)
    rank = config.rank if isinstance(model, PeftModel) else None
    (folder / CARD).write_text(model_card(config.task, facts, rank), encoding="utf-8")
    write_inputs(config, folder, others)


def _save_weights(model: TransformersModel, folder: Path) -> None:
    """Write the weights and ``config.json``; of an adapter PEFT writes no config."""
    if not isinstance(model, PeftModel):
        model.save_pretrained(str(folder))
        return
    # Embeddings are not saved whole; to find out whether they changed, PEFT would ask the hub.
    model.save_pretrained(str(folder), save_embedding_layers=False)
    model.config.architectures = [type(model.get_base_model()).__name__]
    model.config.save_pretrained(str(folder))


def replace_adapter(config: RunConfig, blob: bytes, folder: Path, facts: Mapping[str, str]) -> None:
    """Write a model message as :func:`write_adapter` does, or replace an earlier export.

    Files in the folder that no export has written stay.

    Raises:
        PayloadError: The message does not match the run's layout.
        RecordError: The folder cannot be written, or is a link.
    """
    with replace_folder(folder, _exported_files(folder)) as temporary:
        write_adapter(config, blob, temporary, facts)


def _exported_files(folder: Path) -> list[str]:
    """Return the names of the files that an earlier export has written into a folder."""
    names: object = []
    with suppress(OSError, ValueError, RecursionError, KeyError, TypeError):
        names = json.loads((folder / _NOTES).read_bytes())[_FILES]
    listed = names if isinstance(names, list) else []
    return [name for name in listed if isinstance(name, str) and Path(name).name == name]


def _name_classes(task: Task, library: PretrainedConfig) -> None:
    """Give the model's config the names of the classes."""
    if task.labels:
        library.id2label = dict(_numbered(task))
        library.label2id = {name: number for number, name in _numbered(task)}


def _numbered(task: Task) -> list[tuple[int, str]]:
    """Return number and name of each class; a class without a name has its number as a text."""
    names = task.content.names
    return [(n, names[n] if n < len(names) else str(n)) for n in range(task.labels)]


def write_inputs(config: RunConfig, folder: Path, others: Collection[str] = ()) -> None:
    """Write what the same logits need elsewhere, besides the weights.

    ``floss_sim.json`` names the backbone, its SHA-256, the classes, the padding token, the
    normalisation, and the files of the export: all in the folder but ``others``. A text model gets
    ``tokenizer.json`` and a ``tokenizer_config.json`` that makes the same tokens; a model that
    reads pixels gets a ``preprocessor_config.json``.
    """
    task = config.task
    notes: dict[str, Any] = {
        "task": task.name,
        "kind": task.kind,
        "backbone": task.backbone_name,
        "backbone_sha256": task.backbone_hash,
        "num_labels": task.labels,
    }
    if task.labels:
        notes["id2label"] = {str(number): name for number, name in _numbered(task)}
    if task.backbone_files.has_adapter:
        notes["not_loaded"] = (
            "adapter_config.json in the backbone's folder: load the backbone from a folder without "
            "it, because transformers adds the adapter to the model"
        )
    _write_text_inputs(task, notes, folder)
    _write_image_inputs(task, notes, folder)
    notes[_FILES] = sorted({_NOTES, *(path.name for path in folder.iterdir())}.difference(others))
    _write_json(folder / _NOTES, notes)


def _write_text_inputs(task: Task, notes: dict[str, Any], folder: Path) -> None:
    use, length = task.tokenizer_use, task.preprocess.max_length
    if use is None or length is None:
        return
    notes |= {"max_length": length, "pad_token_id": use.pad_id}
    (folder / TOKENIZER).write_bytes((task.backbone_path / TOKENIZER).read_bytes())
    _write_json(folder / TOKENIZER_CONFIG, export_tokenizer_config(task.backbone_path, use, length))


def _write_image_inputs(task: Task, notes: dict[str, Any], folder: Path) -> None:
    if task.kind != IMAGES:
        return
    used = task.normalisation
    notes["inputs"] = "float32 arrays, unchanged" if used is None else used.describe()
    if used is not None:
        sides = (side_reader("image_size", axis, 224)(task.backbone_config) for axis in (0, 1))
        size = dict(zip(("height", "width"), sides, strict=True))
        _write_json(folder / "preprocessor_config.json", processor_file(used, size))


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
