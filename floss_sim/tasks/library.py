"""Data sets that the ``datasets`` library reads, opened without noise and without leftovers.

Local files are read into memory through a temporary folder that is gone when they are open. A
hub id goes through the library's own cache, which commits a data set by renaming its folder.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from floss_sim.errors import TaskError
from floss_sim.tasks import hub

if TYPE_CHECKING:
    from datasets import Dataset

# Empty cells of a CSV file are empty texts; the words "None" and "NA" stay words.
_CSV: tuple[str, Mapping[str, Any]] = ("csv", {"keep_default_na": False})
_JSON: tuple[str, Mapping[str, Any]] = ("json", {})
_FORMATS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    ".csv": _CSV,
    ".csv.gz": _CSV,
    ".json": _JSON,
    ".json.gz": _JSON,
    ".jsonl": _JSON,
    ".jsonl.gz": _JSON,
    ".parquet": ("parquet", {}),
}


def open_splits(
    reference: str, folder: Path, *, config: str | None, revision: str | None, fetch: bool
) -> Mapping[str, Dataset]:
    """Return the splits of a data set by name; a single file is the split ``train``.

    Args:
        reference: A local path, relative to ``folder``, or a hub id.
        folder: Where relative paths start.
        config: The configuration of a data set that has several.
        revision: The revision of a hub id.
        fetch: Whether a hub id may be downloaded.

    Raises:
        TaskError: Absent, gated, unreadable, or of an unknown format.
    """
    path = hub.locate(reference, folder)
    if path is not None:
        return _local(path, config)
    with hub.hub_errors("data set", reference, fetch=fetch), _quiet(fetch=fetch) as library:
        builder = library.load_dataset_builder(reference, name=config, revision=revision)
        builder.download_and_prepare()
        splits: Mapping[str, Dataset] = builder.as_dataset()
        return splits


def _local(path: Path, config: str | None) -> Mapping[str, Dataset]:
    if not path.exists():
        raise TaskError(f"cannot read {path}: no such file or folder")
    if path.is_dir():
        source: dict[str, Any] = {"path": str(path.resolve()), "name": config}
    else:
        source = _file(path)
    try:
        with tempfile.TemporaryDirectory() as cache, _quiet(fetch=False) as library:
            builder = library.load_dataset_builder(**source, cache_dir=cache)
            builder.download_and_prepare()
            splits: Mapping[str, Dataset] = builder.as_dataset(in_memory=True)
            return splits
    except Exception as error:  # parsers of many formats, each with its own errors
        raise TaskError(f"cannot read {path}: {hub.first_line(error)}") from None


def _file(path: Path) -> dict[str, Any]:
    suffix = next((suffix for suffix in _FORMATS if path.name.endswith(suffix)), None)
    if suffix is None:
        raise TaskError(
            f"cannot read {path}: unknown format; valid: .npz, {', '.join(_FORMATS)}, "
            "or a folder of such files or of images"
        )
    name, options = _FORMATS[suffix]
    return {"path": name, "data_files": {"train": [str(path.resolve())]}, **options}


@contextmanager
def _quiet(*, fetch: bool) -> Iterator[Any]:
    """Yield the library: no progress bars, no logs, and offline unless told to fetch."""
    import datasets

    level, bars = datasets.logging.get_verbosity(), datasets.are_progress_bars_disabled()
    offline = datasets.config.HF_HUB_OFFLINE
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # errors are raised as well
    datasets.disable_progress_bars()
    datasets.config.HF_HUB_OFFLINE = offline or not fetch
    try:
        with hub.quiet_hub():
            yield datasets
    finally:
        datasets.config.HF_HUB_OFFLINE = offline
        datasets.logging.set_verbosity(level)
        if not bars:
            datasets.enable_progress_bars()
