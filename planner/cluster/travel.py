"""Blobs of a parcel: parts of runs, models, examples, and the files of a backbone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load, save

from floss_sim.records.run_part import RunPart
from floss_sim.runs.config import RunConfig
from floss_sim.tasks.backbone_files import BackboneFiles
from floss_sim.tasks.task_data import TaskData
from planner.cluster.job import PartHead
from planner.cluster.parcel import ParcelError

DATA, BACKBONE = "data", "backbone"
_TABLES = ("rounds", "transfers")
_SPLITS = ("train", "validation", "test")
# Files beside config and weights that a run may read.
_OTHER_FILES = (
    "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json",
    "preprocessor_config.json", "processor_config.json",
)  # fmt: skip


def part_blobs(number: int, part: RunPart) -> dict[str, bytes]:
    """Return the blobs of a part.

    Args:
        number: Number of the run in the parcel.
        part: The part.
    """
    tables = {f"run{number}.{kind}": part.tables[kind] for kind in _TABLES}
    models = model_blobs(number, part.models)
    return {**tables, f"run{number}.checkpoint": part.checkpoint, **models}


def model_blobs(number: int, models: Mapping[int, bytes]) -> dict[str, bytes]:
    """Return the blobs of models by round; ``number`` is that of the run in the parcel."""
    return {f"run{number}.model{round_}": blob for round_, blob in models.items()}


def part_head(part: RunPart) -> PartHead:
    """Return what a head says of a part."""
    return PartHead(
        after=part.after,
        rounds=part.rounds,
        timing=part.timing,
        network=part.network,
        version=part.version,
    )


def part_of(number: int, head: PartHead, blobs: Mapping[str, bytes]) -> RunPart:
    """Return the part of a run in a parcel; arguments as :func:`part_blobs`.

    Raises:
        ParcelError: A blob is missing.
    """
    return RunPart(
        **head.model_dump(),
        tables={kind: blob_of(blobs, f"run{number}.{kind}") for kind in _TABLES},
        checkpoint=blob_of(blobs, f"run{number}.checkpoint"),
        models=models_of(number, blobs),
    )


def models_of(number: int, blobs: Mapping[str, bytes]) -> dict[int, bytes]:
    """Return the models of a run in a parcel, by round."""
    start = f"run{number}.model"
    found = {int(n.removeprefix(start)): b for n, b in blobs.items() if n.startswith(start)}
    return dict(sorted(found.items()))


def blob_of(blobs: Mapping[str, bytes], name: str) -> bytes:
    """Return a blob.

    Raises:
        ParcelError: It is missing.
    """
    if name not in blobs:
        raise ParcelError(f"the parcel lacks {name}")
    return blobs[name]


def data_blob(content: TaskData) -> bytes:
    """Return the examples of a task as a safetensors file."""
    arrays = {}
    for name in _SPLITS:
        arrays[f"{name}_x"], arrays[f"{name}_y"] = getattr(content, name)
    return save(arrays if content.groups is None else {**arrays, "groups": content.groups})


def data_of(blob: bytes) -> TaskData:
    """Return the examples of a safetensors file.

    Raises:
        ParcelError: The file holds no examples.
    """
    try:
        arrays = load(blob)
        train, validation, test = ((arrays[f"{name}_x"], arrays[f"{name}_y"]) for name in _SPLITS)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ParcelError(f"the examples of the parcel cannot be read: {error}") from None
    return TaskData(train, validation, test, groups=arrays.get("groups"))


def backbone_blobs(files: BackboneFiles) -> dict[str, bytes]:
    """Return the blobs of a backbone's files.

    Raises:
        TaskError: A file cannot be found.
        OSError: A file cannot be read.
    """
    others = [files.path / name for name in _OTHER_FILES]
    paths = {*files.hashed_files, *(path for path in others if path.is_file())}
    return {f"{BACKBONE}.{path.name}": path.read_bytes() for path in sorted(paths)}


def write_backbone(blobs: Mapping[str, bytes], folder: Path) -> None:
    """Write the files of a backbone into an empty folder; names are those of a parcel.

    Raises:
        ParcelError: The parcel has none.
    """
    start = f"{BACKBONE}."
    files = {n.removeprefix(start): blob for n, blob in blobs.items() if n.startswith(start)}
    if not files:
        raise ParcelError("the parcel lacks the backbone")
    for name, content in files.items():
        (folder / name).write_bytes(content)


def task_blobs(config: RunConfig, files: Collection[str]) -> dict[str, bytes]:
    """Return the blobs of a task's files.

    Args:
        config: A run of the task.
        files: ``data`` and ``backbone``, as far as they are to be sent.

    Raises:
        TaskError: A file cannot be found.
    """
    blobs = backbone_blobs(config.task.backbone_files) if BACKBONE in files else {}
    return blobs | ({DATA: data_blob(config.task.content)} if DATA in files else {})
