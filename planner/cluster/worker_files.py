"""Files of a worker: examples and backbones that it keeps under their marks, and scratch folders.

The folder is ``$FLOSS_SIM_WORKER``, or a temporary one of the process. A backbone or data set that
a worker has, packaged or in the hub's local cache, is used if its mark is the job's. Anything else
comes with a job once, and is kept. No path of a job is ever read.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import floss_sim.tasks
from floss_sim import documents
from floss_sim.errors import ConfigError
from floss_sim.tasks import Task, TaskData
from floss_sim.tasks.backbone_files import BackboneFiles
from floss_sim.tasks.sections import TaskFile
from planner.cluster.config_document import TaskDocument
from planner.cluster.parcel import ParcelError
from planner.cluster.travel import BACKBONE, DATA, data_of, write_backbone

FOLDER = "FLOSS_SIM_WORKER"  # environment variable
_STALE_S = 86_400.0  # seconds after which the scratch folder of a killed process is removed


class LackingError(Exception):
    """The worker lacks files; ``names`` are those of :data:`planner.cluster.job.Answer.lacks`."""

    def __init__(self, *names: str) -> None:
        super().__init__(" and ".join(names))
        self.names = names


@cache
def _root() -> Path:
    """Return the folder of this process; a temporary one is removed when the process ends."""
    chosen = os.environ.get(FOLDER)
    if chosen:
        root = Path(chosen).expanduser()
        root.mkdir(parents=True, exist_ok=True)
        _remove_stale(root)
        return root
    root = Path(tempfile.mkdtemp(prefix="floss-sim-worker-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return root


@cache
def scratch() -> Path:
    """Return the folder of this process for the runs of its jobs."""
    made = Path(tempfile.mkdtemp(prefix="runs-", dir=_root()))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def _remove_stale(root: Path) -> None:
    for path in root.glob("runs-*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _STALE_S:
                shutil.rmtree(path, ignore_errors=True)


def task_of(document: TaskDocument, data: str, backbone: str, blobs: Mapping[str, bytes]) -> Task:
    """Return the task of a document, with files of the given marks.

    Args:
        document: The task without its files.
        data: Mark of the data.
        backbone: Mark of the backbone.
        blobs: Blobs of the parcel, which may have the files.

    Raises:
        LackingError: Files of a mark are neither here nor in the parcel.
        ParcelError: Files of the parcel have another mark.
        ConfigError: The document is no task.
    """
    folder = _backbone(document, backbone, blobs)
    content = {**document.file, BACKBONE: {**document.file.get(BACKBONE, {}), "model": str(folder)}}
    file = documents.validate(content, TaskFile, ConfigError, "task of the job")
    task = Task.of(file, folder)
    examples = _examples(task, document, data, blobs)
    return task.with_content(examples)


def _backbone(document: TaskDocument, mark: str, blobs: Mapping[str, bytes]) -> Path:
    kept = _root() / "backbones" / mark
    for folder in (kept, *_own_backbones(document.backbone_id)):
        if folder.is_dir() and _backbone_mark(folder) == mark:
            return folder
    if not any(name.startswith(BACKBONE) for name in blobs):
        raise LackingError(BACKBONE)
    with _new_folder(kept) as made:
        write_backbone(blobs, made)
        if (found := _files(made).digest) != mark:
            raise ParcelError(f"the backbone of the parcel has mark {found[:12]}, not {mark[:12]}")
        _set_aside(kept, mark)
    _backbone_mark.cache_clear()
    if _backbone_mark(kept) != mark:
        raise ParcelError(f"the worker cannot replace its damaged backbone {mark[:12]}")
    return kept


def _set_aside(kept: Path, mark: str) -> None:
    """Remove a damaged backbone, unless another process has replaced it by now."""
    _backbone_mark.cache_clear()
    if not kept.exists() or _backbone_mark(kept) == mark:
        return
    with suppress(OSError):
        aside = Path(tempfile.mkdtemp(prefix=".old-", dir=kept.parent))
        kept.rename(aside / kept.name)
        shutil.rmtree(aside, ignore_errors=True)


def _own_backbones(hub_id: str | None) -> Iterator[Path]:
    """Yield the packaged backbones, and one of the hub's local cache."""
    packaged = Path(floss_sim.tasks.__file__).parent
    yield from (path.parent for path in sorted(packaged.glob("*/config.json")))
    if hub_id is not None:
        with suppress(ConfigError):
            yield BackboneFiles(hub_id, packaged, False, "task of the job").path


@cache
def _backbone_mark(folder: Path) -> str | None:
    with suppress(ConfigError):
        return _files(folder).digest
    return None


def _files(folder: Path) -> BackboneFiles:
    return BackboneFiles(str(folder), folder, False, "task of the job")


_read: dict[str, TaskData] = {}  # examples by mark, which all tasks of this process share


def _examples(
    task: Task, document: TaskDocument, mark: str, blobs: Mapping[str, bytes]
) -> TaskData:
    if mark not in _read:
        _read[mark] = (
            _kept_examples(mark) or _own_examples(task, document, mark) or _sent(mark, blobs)
        )
    return _read[mark]


def _kept_examples(mark: str) -> TaskData | None:
    path = _root() / DATA / f"{mark}.safetensors"
    with suppress(OSError, ParcelError):
        if path.is_file() and (found := data_of(path.read_bytes())).digest == mark:
            return found
    return None


def _own_examples(task: Task, document: TaskDocument, mark: str) -> TaskData | None:
    """Return packaged data, or data in the hub's local cache, if they have the mark."""
    if document.dataset_id is None:
        return None
    data = task.data.model_copy(update={"dataset": document.dataset_id})
    with suppress(ConfigError):
        found = Task.of(task.model_copy(update={"data": data}), task.folder).content
        if found.digest == mark:
            return found
    return None


def _sent(mark: str, blobs: Mapping[str, bytes]) -> TaskData:
    if DATA not in blobs:
        raise LackingError(DATA)
    found = data_of(blobs[DATA])
    if found.digest != mark:
        raise ParcelError(f"the data of the parcel have mark {found.digest[:12]}, not {mark[:12]}")
    path = _root() / DATA / f"{mark}.safetensors"
    path.parent.mkdir(exist_ok=True)
    with _new_file(path) as temporary:
        temporary.write_bytes(blobs[DATA])
    return found


@contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path whose file replaces a path after the block."""
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes a path after the block, unless another was first."""
    path.parent.mkdir(exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=path.parent))
    try:
        yield temporary
        with suppress(OSError):
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
