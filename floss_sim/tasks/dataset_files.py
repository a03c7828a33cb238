"""Data sets: local files and folders, and hub ids.

Local files are read by this package, so that no library guesses types or splits. A hub id is read
by the ``datasets`` library from its own cache, which commits a data set by renaming its folder; the
library's progress bars and logs are disabled.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from floss_sim.errors import TaskError
from floss_sim.tasks import hub
from floss_sim.tasks.csv_files import read_csv
from floss_sim.tasks.folder_splits import FolderSplits, canonical_split, find_splits, list_files
from floss_sim.tasks.image_tables import image_rows
from floss_sim.tasks.json_files import read_json
from floss_sim.tasks.parquet_files import read_parquet
from floss_sim.tasks.repeated_files import FilesOnce
from floss_sim.tasks.split_rows import SplitRows, Splits, dataset_of
from floss_sim.tasks.table_cells import CsvForm, TableCells, join_cells

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
    ".tsv": "csv",
    ".tsv.gz": "csv",
}


@dataclass(frozen=True)
class Reading:
    """What is read of a data set.

    Attributes:
        columns: Names of the columns that a task uses.
        form: Delimiter and decimal sign of CSV files, where the task states them.
    """

    columns: frozenset[str]
    form: CsvForm


def open_splits(
    reference: str,
    folder: Path,
    reading: Reading,
    *,
    config: str | None,
    revision: str | None,
    fetch: bool,
) -> Splits:
    """Return the splits of a data set by name; a single file is the split ``train``.

    Args:
        reference: A path relative to ``folder``, or a hub id.
        folder: The folder to which a relative path refers.
        reading: Columns to read, and the form of CSV files.
        config: The name of a configuration, for a data set with several.
        revision: The revision of a hub id.
        fetch: Whether a hub id may be downloaded.

    Raises:
        TaskError: The data set is absent, gated, unreadable, or of an unknown format.
    """
    path = hub.locate(reference, folder)
    if path is not None:
        return _open_local(path, reading, config)
    with hub.hub_errors("data set", reference, fetch=fetch), _quiet_library(fetch=fetch) as library:
        builder = library.load_dataset_builder(reference, name=config, revision=revision)
        builder.download_and_prepare()
        splits: Mapping[str, Dataset] = builder.as_dataset()
    tables = {name: SplitRows(table, tuple(table.column_names)) for name, table in splits.items()}
    return Splits(tuple(tables), tables.__getitem__, canonical_split)


def _open_local(path: Path, reading: Reading, config: str | None) -> Splits:
    if not path.exists():
        raise TaskError(f"cannot read {path}: no such file or folder")
    if not path.is_dir():
        _format(path)
        return Splits(("train",), lambda _: _load_tables((path,), reading, path), canonical_split)
    found = _stated_splits(path, config) or find_splits(
        path, _FORMATS, _image_suffixes(), str(path)
    )
    files = {name: (*paths, *found.metadata.get(name, ())) for name, paths in found.files.items()}
    once = FilesOnce(str(path))

    def load(name: str) -> SplitRows:
        once.add(files[name])
        if found.images:
            metadata = found.metadata.get(name, ())
            described = _load_cells(metadata, _describing(reading), path) if metadata else None
            return image_rows(found, name, described, path)
        return _load_tables(found.files[name], reading, path)

    return Splits(tuple(files), load, canonical_split, files, found.left_out)


def _describing(reading: Reading) -> Reading:
    return Reading(reading.columns | {"file_name"}, reading.form)


def _load_tables(paths: tuple[Path, ...], reading: Reading, where: Path) -> SplitRows:
    cells = _load_cells(paths, reading, where)
    try:
        table = dataset_of(cells.table)
    except Exception as error:  # metadata of a Parquet file that the library cannot read
        raise TaskError(f"cannot read {where}: {hub.first_line(error)}") from None
    return SplitRows(table, cells.columns, cells.mixed, cells.form)


def _load_cells(paths: tuple[Path, ...], reading: Reading, where: Path) -> TableCells:
    """Return the rows of the files of one split."""
    formats = {_format(path): path for path in paths}
    if len(formats) > 1:
        named = " and ".join(path.name for path in formats.values())
        raise TaskError(f"cannot read {where}: files of one split have several formats: {named}")
    return join_cells([_read(path, reading) for path in paths], paths, str(where))


def _read(path: Path, reading: Reading) -> TableCells:
    kind = _format(path)
    if kind == "csv":
        return read_csv(path, reading.columns, reading.form)
    return (read_json if kind == "json" else read_parquet)(path, reading.columns)


def _format(path: Path) -> str:
    suffix = next((suffix for suffix in _FORMATS if path.name.endswith(suffix)), None)
    if suffix is None:
        raise TaskError(
            f"cannot read {path}: unknown format; valid: .npz, {', '.join(_FORMATS)}, "
            "or a folder of such files or of images"
        )
    return _FORMATS[suffix]


def _image_suffixes() -> Collection[str]:
    from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder

    return frozenset(suffix.lower() for suffix in ImageFolder.EXTENSIONS)


def _stated_splits(folder: Path, config: str | None) -> FolderSplits | None:
    """Return the splits that the folder's README.md states under ``configs``; None without them.

    Raises:
        TaskError: The README cannot be read, names files outside the folder or a file in two
            splits, or has no configuration of this name.
    """
    readme = folder / "README.md"
    stated = _stated_configs(readme)
    if not stated:
        if config is not None:
            raise TaskError(f"{folder}: no README.md with configs, so there is no {config!r}")
        return None
    if any("://" in text or "::" in text or ".." in text for text in _texts(stated)):
        raise TaskError(f"cannot read {readme}: its configs name files outside the folder")
    try:
        with tempfile.TemporaryDirectory() as cache, _quiet_library(fetch=False) as library:
            builder = library.load_dataset_builder(
                str(folder.resolve()), name=config, cache_dir=cache
            )
            named = {str(name): list(map(Path, files))
                     for name, files in (builder.config.data_files or {}).items()}  # fmt: skip
    except Exception as error:  # the library raises errors of many types
        raise TaskError(f"cannot read {folder}: {hub.first_line(error)}") from None
    return _check_stated(folder, named)


def _stated_configs(readme: Path) -> Any:
    """Return the value of ``configs`` in a README's front matter, or None."""
    if not readme.is_file():
        return None
    import huggingface_hub

    try:
        content = huggingface_hub.metadata_load(readme)
    except Exception as error:  # YAML raises errors of its own
        raise TaskError(f"cannot read {readme}: {hub.first_line(error)}") from None
    return content.get("configs") if isinstance(content, dict) else None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts(list(value.values()))
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


def _check_stated(folder: Path, named: Mapping[str, list[Path]]) -> FolderSplits:
    root, seen = folder.resolve(), set[Path]()
    for path in (path for paths in named.values() for path in paths):
        if path in seen:
            raise TaskError(f"{folder}: README.md names {path.relative_to(root)} twice")
        if not path.is_relative_to(root):
            raise TaskError(f"{folder}: README.md names {path}, which lies outside the folder")
        seen.add(path)
    if not seen:
        raise TaskError(f"{folder}: README.md states no files")
    suffixes = _image_suffixes()
    pictures = {path for path in seen if path.suffix.lower() in suffixes}
    if pictures and pictures != seen:
        raise TaskError(f"{folder}: README.md names images and other files in its configs")
    rest = [folder / name for name in list_files(folder) if root / name not in seen]
    return FolderSplits(
        {name: tuple(sorted(paths, key=str)) for name, paths in named.items()},
        bool(pictures),
        {},
        tuple(rest),
    )


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
