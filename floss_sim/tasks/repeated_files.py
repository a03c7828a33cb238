"""Files of a data set that are reached twice: through links, or as a table and its gzip file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from floss_sim.errors import TaskError


class FilesOnce:
    """The files of a data set that have been read so far; none may be read twice."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._seen: dict[str, Path] = {}
        self._folders: dict[Path, str] = {}

    def add(self, paths: Iterable[Path]) -> None:
        """Add the files of a split.

        Raises:
            TaskError: Two paths lead to one file, or are ``a.csv`` and ``a.csv.gz`` of one folder.
        """
        for path in paths:
            for name, said in (
                (self._real(path), "are one file"),
                (str(path).removesuffix(".gz"), "are one table, plain and packed"),
            ):
                first = self._seen.setdefault(name, path)
                if first != path:
                    raise TaskError(
                        f"cannot read {self._where}: {first} and {path} {said}, whose rows would "
                        "be dealt twice; remove one of them"
                    )

    def _real(self, path: Path) -> str:
        """Return a path without links; a folder is resolved once for all its files."""
        if path.is_symlink():
            return os.path.realpath(path)
        folder = path.parent
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return f"{self._folders[folder]}{os.sep}{path.name}"
