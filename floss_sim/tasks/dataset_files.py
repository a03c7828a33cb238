"""Data sets read by the ``datasets`` library: local files and hub ids.

The library's progress bars and logs are disabled. Local files are read into memory through a
temporary folder, which is deleted afterwards. A hub id uses the library's own cache, which commits
a data set by renaming its folder.
"""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from floss_sim.errors import TaskError
from floss_sim.tasks import hub

if TYPE_CHECKING:
    from datasets import Dataset

_FORMATS = {
    ".csv": "csv",
    ".csv.gz": "csv",
    ".json": "json",
    ".json.gz": "json",
    ".jsonl": "json",
    ".jsonl.gz": "json",
    ".parquet": "parquet",
}
# Empty cells of a CSV file are empty texts, and the words "None" and "NA" stay words. Cells beyond
# the header are never read as an index, because that would shift all columns.
_CSV = {"keep_default_na": False, "index_col": False}
_TOO_WIDE = "Length of header or names does not match length of data"


def open_splits(
    reference: str, folder: Path, *, config: str | None, revision: str | None, fetch: bool
) -> Mapping[str, Dataset]:
    """Return the splits of a data set by name; a single file is the split ``train``.

    Args:
        reference: A path relative to ``folder``, or a hub id.
        folder: The folder to which a relative path refers.
        config: The name of a configuration, for a data set with several.
        revision: The revision of a hub id.
        fetch: Whether a hub id may be downloaded.

    Raises:
        TaskError: The data set is absent, gated, unreadable, or of an unknown format.
    """
    path = hub.locate(reference, folder)
    if path is not None:
        return _load_local(path, config)
    with hub.hub_errors("data set", reference, fetch=fetch), _quiet_library(fetch=fetch) as library:
        builder = library.load_dataset_builder(reference, name=config, revision=revision)
        builder.download_and_prepare()
        splits: Mapping[str, Dataset] = builder.as_dataset()
        return splits


def _load_local(path: Path, config: str | None) -> Mapping[str, Dataset]:
    if not path.exists():
        raise TaskError(f"cannot read {path}: no such file or folder")
    if path.is_dir():
        source: dict[str, Any] = {"path": str(path.resolve()), "name": config}
    else:
        source = _file_source(path)
    try:
        with tempfile.TemporaryDirectory() as cache, _quiet_library(fetch=False) as library:
            builder = library.load_dataset_builder(**source, cache_dir=cache)
            if builder.config.__class__.__name__ == "CsvConfig":
                vars(builder.config).update(_CSV)
            return _build_splits(builder)
    except Exception as error:  # the parser of each format raises errors of other types
        differ = _differing_columns(error)
        if path.is_dir() and not differ:
            _try_each(path)
        raise TaskError(f"cannot read {path}: {differ or _reason(error)}") from None


def _try_each(folder: Path) -> None:
    """Raise TaskError for the first file of a folder that cannot be read by itself."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name.endswith(tuple(_FORMATS)):
            _load_local(path, None)


def _file_source(path: Path) -> dict[str, Any]:
    suffix = next((suffix for suffix in _FORMATS if path.name.endswith(suffix)), None)
    if suffix is None:
        raise TaskError(
            f"cannot read {path}: unknown format; valid: .npz, {', '.join(_FORMATS)}, "
            "or a folder of such files or of images"
        )
    return {"path": _FORMATS[suffix], "data_files": {"train": [str(path.resolve())]}}


def _build_splits(builder: Any) -> Mapping[str, Dataset]:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", _TOO_WIDE)
        builder.download_and_prepare()
    splits: Mapping[str, Dataset] = builder.as_dataset(in_memory=True)
    return splits


def _reason(error: Exception) -> str:
    """Return the reason, in one line, that files cannot be read."""
    said = hub.first_line(error)
    if _TOO_WIDE in said:
        return "a row has more cells than the header"
    if wide := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", said):
        return f"line {wide[2]} has {wide[3]} cells, more than the header's {wide[1]}"
    if "corresponds to no data" in said or isinstance(error.__cause__, StopIteration):
        return "it holds no rows"
    return said


def _differing_columns(error: Exception) -> str | None:
    """Return a message on columns missing in some files, or None for any other error."""
    said = vars(error.__cause__ or error)
    if not {"table_column_names", "requested_column_names"} <= said.keys():
        return None
    names = sorted(set(said["table_column_names"]) ^ set(said["requested_column_names"]))
    return f"its files have different columns; missing in some files: {', '.join(names)}"


@contextmanager
def _quiet_library(*, fetch: bool) -> Iterator[Any]:
    """Yield the library without progress bars and logs, and offline unless ``fetch`` is set."""
    import datasets

    level, bars = datasets.logging.get_verbosity(), datasets.are_progress_bars_disabled()
    offline = datasets.config.HF_HUB_OFFLINE
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # logged errors are raised too
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
