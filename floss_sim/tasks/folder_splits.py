"""Splits of a local folder: which file belongs to which split.

Only positions in the folder decide. Images lie in ``<class>/`` (one split, ``train``) or in
``<split>/<class>/``; a word such as ``train`` in the name of a class or a file means nothing.
Tables lie in ``<split>/``, or in files named after their splits (``train.csv``,
``test-00000-of-00002.parquet``, ``posts_train.csv`` beside ``posts_test.csv``), or all files are
the split ``train``. A folder that allows two readings is refused. A README.md with ``configs``,
as on the hub, states the files itself (see :mod:`floss_sim.tasks.dataset_files`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from floss_sim.errors import TaskError

_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
CANONICAL_SPLITS = frozenset(_WORDS)
_SPLIT_OF = {word: split for split, words in _WORDS.items() for word in words}
_SHARD = r"(?:[-._ ]?\d+(?:-of-\d+)?(?:-[0-9a-f]{16})?)?"
_STEM = re.compile(rf"(?:(?P<prefix>.*)[-._ ])?(?P<word>{'|'.join(_SPLIT_OF)}){_SHARD}", re.I)
_PART = re.compile(rf"(?<![a-z])(?:{'|'.join(_SPLIT_OF)})(?![a-z])", re.I)
_METADATA = re.compile(r"metadata\.(csv|jsonl|parquet)")
_SKIPPED_FOLDERS = ("__MACOSX", "__pycache__")
_IMAGE_PLACES = "valid: <class>/<image>, or <split>/<class>/<image>"
_Relative = PurePosixPath


@dataclass(frozen=True)
class FolderSplits:
    """The files of a local folder by split, in sorted order.

    Attributes:
        files: Images, or tables, of each split.
        images: Whether the files are images.
        metadata: Files in an image folder that hold the columns of its images, by split.
        left_out: All other files.
    """

    files: Mapping[str, tuple[Path, ...]]
    images: bool
    metadata: Mapping[str, tuple[Path, ...]]
    left_out: tuple[Path, ...]


def canonical_split(name: str) -> str:
    """Return ``train``, ``validation`` or ``test`` for a usual name of it, or the name itself."""
    return _SPLIT_OF.get(name.lower(), name)


def find_splits(
    folder: Path, tables: Collection[str], images: Collection[str], where: str
) -> FolderSplits:
    """Return the splits of a folder of images or of tables.

    Args:
        folder: The folder.
        tables: Ends of the names of table files, such as ``.csv``.
        images: Suffixes of image files in lower case, such as ``.png``.
        where: Name of the folder in error messages.

    Raises:
        TaskError: The folder holds no data, or files in places that allow two readings.
    """
    found = [_Relative(name) for name in list_files(folder)]
    shown = [path for path in found if not _is_hidden(path)]
    pictures = [path for path in shown if path.suffix.lower() in images]
    sheets = [path for path in shown if path.name.endswith(tuple(tables))]
    metadata = [path for path in sheets if _METADATA.fullmatch(path.name)]
    if pictures and (metadata or not sheets or any(len(p.parts) > 1 for p in pictures)):
        split_of = _image_splits(pictures, metadata, where)
    elif sheets:
        split_of, metadata = _table_splits(sheets, where), []
    else:
        raise TaskError(
            f"cannot read {where}: it holds neither images nor files of {', '.join(tables)}"
        )
    states = {path: split_of[path] for path in metadata if path in split_of}
    rest = {path: split for path, split in split_of.items() if path not in states}
    return FolderSplits(
        _by_split(folder, rest),
        bool(rest) and next(iter(rest)) in set(pictures),
        _by_split(folder, states),
        tuple(folder / path for path in found if path not in split_of),
    )


def list_files(folder: Path) -> list[str]:
    """Return the paths of all files below a folder, relative to it, in the order of their texts.

    Links to folders are followed, but never into a folder that contains the link.
    """
    return sorted(_walk(folder, "", (os.path.realpath(folder),)))


def _walk(folder: Path, prefix: str, above: tuple[str, ...]) -> Iterator[str]:
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise TaskError(f"cannot read {folder}: {error.strerror}") from None
    for entry in entries:
        if not entry.is_dir():
            yield prefix + entry.name
            continue
        real = os.path.realpath(entry.path)
        if real not in above:
            yield from _walk(Path(entry.path), f"{prefix}{entry.name}/", (*above, real))


def _is_hidden(path: _Relative) -> bool:
    return any(part.startswith(".") or part in _SKIPPED_FOLDERS for part in path.parts)


def _by_split(folder: Path, split_of: Mapping[_Relative, str]) -> dict[str, tuple[Path, ...]]:
    splits: dict[str, list[Path]] = {}
    for path, split in split_of.items():
        splits.setdefault(split, []).append(folder / path)
    return {split: tuple(paths) for split, paths in splits.items()}


def _wrapper(paths: Sequence[_Relative], least: int) -> int:
    """Return the number of folders around all files that are no splits, such as ``data/``.

    A folder counts if all files lie at least ``least`` folders deeper.
    """
    shallowest, depth = min(len(path.parts) for path in paths) - 1, 0
    while depth + least < shallowest:
        tops = {path.parts[depth] for path in paths}
        if len(tops) > 1 or tops.pop().lower() in _SPLIT_OF:
            break
        depth += 1
    return depth


def _image_splits(
    pictures: Sequence[_Relative], metadata: Sequence[_Relative], where: str
) -> dict[_Relative, str]:
    """Return the split of each image and each metadata file."""
    paths = [*pictures, *metadata]
    skip = _wrapper(paths, 0 if metadata else 1)
    parts = {path: path.parts[skip:-1] for path in paths}
    if metadata:
        return _metadata_splits(parts, metadata, where)
    depths = {path: len(folders) for path, folders in parts.items()}
    if bad := next((path for path, depth in depths.items() if not 1 <= depth <= 2), None):
        place = "in no class folder" if not depths[bad] else "deeper than a class folder"
        raise TaskError(f"cannot read {where}: {bad} lies {place}; {_IMAGE_PLACES}")
    if len(set(depths.values())) > 1:
        one, other = (next(p for p, depth in depths.items() if depth == at) for at in (1, 2))
        raise TaskError(
            f"cannot read {where}: {one} and {other} lie at different depths; {_IMAGE_PLACES}"
        )
    if set(depths.values()) == {2}:
        return {path: folders[0] for path, folders in parts.items()}
    classes = sorted({folders[0] for folders in parts.values()})
    if all(name.lower() in _SPLIT_OF for name in classes):
        raise TaskError(
            f"cannot read {where}: its folders ({', '.join(classes)}) are named like splits and "
            f"hold images directly; {_IMAGE_PLACES}"
        )
    return dict.fromkeys(parts, "train")


def _metadata_splits(
    parts: Mapping[_Relative, tuple[str, ...]], metadata: Sequence[_Relative], where: str
) -> dict[_Relative, str]:
    """Return the splits where metadata files lie in the folder, or in each split's folder."""
    if all(not parts[path] for path in metadata):
        tops = {folders[0] for folders in parts.values() if folders}
        if any(name.lower() in _SPLIT_OF for name in tops):
            raise TaskError(
                f"cannot read {where}: {metadata[0]} describes images of several splits "
                f"({', '.join(sorted(tops))}); valid: one metadata file in each split's folder"
            )
        return dict.fromkeys(parts, "train")
    described = {parts[path] for path in metadata}
    bad = next((p for p, at in parts.items() if not at or at[:1] not in described), None)
    if bad is not None or any(len(at) != 1 for at in described):
        raise TaskError(
            f"cannot read {where}: {bad or metadata[0]} lies in no split's folder with a metadata "
            "file; valid: one metadata file in the folder, or one in each split's folder"
        )
    return {path: at[0] for path, at in parts.items()}


def _table_splits(sheets: Sequence[_Relative], where: str) -> dict[_Relative, str]:
    """Return the split of each table; tables beside folders of splits have none."""
    skip = _wrapper(sheets, 0)
    parts = {path: path.parts[skip:-1] for path in sheets}
    tops = {folders[0] for folders in parts.values() if folders}
    if any(name.lower() in _SPLIT_OF for name in tops):
        return {path: folders[0] for path, folders in parts.items() if folders}
    stems = {path: _stem(path) for path in sheets}
    if not tops and (named := _named_splits(stems)):
        return named
    for path in sheets:
        if word := _PART.search("/".join((*parts[path], stems[path]))):
            raise TaskError(
                f"cannot read {where}: {path} may belong to the split {word[0]!r} or to all rows; "
                "valid: folders named after splits (train/, test/), files named after splits "
                "(train.csv, test.csv), or files without such words"
            )
    return dict.fromkeys(sheets, "train")


def _stem(path: _Relative) -> str:
    name = path.name.removesuffix(".gz")
    return name[: name.rindex(".")]


def _named_splits(stems: Mapping[_Relative, str]) -> dict[_Relative, str] | None:
    """Return splits of files that are named after them, or None if they are not.

    Files are named after splits if one is just that word, or if all are it after one prefix.
    """
    matches = {path: _STEM.fullmatch(stem) for path, stem in stems.items()}
    plain = [path for path, match in matches.items() if match and match["prefix"] is None]
    prefixes = {match and match["prefix"] for match in matches.values()}
    if not plain and (len(prefixes) > 1 or None in prefixes):
        return None
    kept = set(plain or stems)
    return {
        path: match["word"] if match and path in kept else stems[path]
        for path, match in matches.items()
    }
