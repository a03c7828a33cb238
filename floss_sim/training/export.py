"""Test metrics and export of a trained model."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
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
from floss_sim.training.evaluation import right_predictions
from floss_sim.training.models.flat_model import build_flat_model
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
    model = build_flat_model(config, place)
    made = []
    for vector_N in vectors:
        loss, right_M = right_predictions(model, vector_N, *split)
        right = right_M.cpu().numpy()
        made.append(ModelOnTest(int(right.sum()) / len(right), loss, right))
    return made


def write_adapter(config: RunConfig, blob: bytes, folder: Path) -> None:
    """Write a model message as a folder of safetensors.

    With adapters (``lora``, ``ffa``) the folder can be loaded by ``PeftModel.from_pretrained``; it
    includes A even if A was frozen. Otherwise it holds the whole model, for
    ``AutoModelFor...from_pretrained``. Beside the weights stands what the same logits need
    elsewhere, see :func:`write_inputs`.

    Raises:
        PayloadError: The message does not match the run's layout.
    """
    vector_N, _ = decode(config.layout, blob)
    others = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    flat = build_flat_model(config, torch.device("cpu"))
    flat.load(flat.base + vector_N)
    _name_classes(config, flat.model.config)
    flat.model.save_pretrained(str(folder))
    write_inputs(config, folder, others)


def replace_adapter(config: RunConfig, blob: bytes, folder: Path) -> None:
    """Write a model message as :func:`write_adapter` does, or replace an earlier export.

    Files in the folder that no export has written stay.

    Raises:
        PayloadError: The message does not match the run's layout.
        RecordError: The folder cannot be written, or is a link.
    """
    with replace_folder(folder, _exported_files(folder)) as temporary:
        write_adapter(config, blob, temporary)


def _exported_files(folder: Path) -> list[str]:
    """Return the names of the files that an earlier export has written into a folder."""
    names: object = []
    with suppress(OSError, ValueError, RecursionError, KeyError, TypeError):
        names = json.loads((folder / _NOTES).read_bytes())[_FILES]
    listed = names if isinstance(names, list) else []
    return [name for name in listed if isinstance(name, str) and Path(name).name == name]


def _name_classes(config: RunConfig, library: PretrainedConfig) -> None:
    """Give the model's config the names of the classes, if the data set names them."""
    names = config.task.content.names
    if config.task.labels and names:
        library.id2label = dict(_numbered(config))
        library.label2id = {name: number for number, name in _numbered(config)}


def _numbered(config: RunConfig) -> list[tuple[int, str]]:
    """Return number and name of each class; classes that never occur have their number's name."""
    names = config.task.content.names
    return [(n, names[n] if n < len(names) else str(n)) for n in range(config.task.labels)]


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
        "backbone": str(task.backbone_path),
        "backbone_sha256": task.backbone_hash,
        "num_labels": task.labels,
    }
    if task.content.names:
        notes["id2label"] = {str(number): name for number, name in _numbered(config)}
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
