"""Files of one commit: written beside their final names, then renamed, the manifest last."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors.numpy import save_file

from floss_sim.files import temporary_name
from floss_sim.records import file_names
from floss_sim.records.file_checks import FileSum


class CommitFiles:
    """Writes new files of a run folder under temporary names until :meth:`publish`.

    Used as a context manager: if the block raises, the temporary files are deleted.

    Attributes:
        sums: Length and SHA-256 of each new file, by its final name.

    Args:
        folder: Run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.sums: dict[str, FileSum] = {}
        self._folder = folder
        self._begun: list[str] = []

    def __enter__(self) -> CommitFiles:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            for name in self._begun:
                self._temporary(name).unlink(missing_ok=True)

    def write_table(self, name: str, table: pa.Table) -> None:
        """Write a table as a Parquet file."""
        with self._begin(name).open("wb") as file:
            pq.write_table(table, file)
        self.sums[name] = FileSum.of(self._temporary(name), table.num_rows)

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file with the given content."""
        self._begin(name).write_bytes(content)
        self.sums[name] = FileSum.of(self._temporary(name))

    def write_tensors(
        self, name: str, tensors: Mapping[str, NDArray[Any]], about: Mapping[str, str]
    ) -> None:
        """Write arrays by name as a safetensors file, with texts about them."""
        path = self._begin(name)
        mode = path.stat().st_mode  # safetensors makes files that only their owner can read
        save_file(dict(tensors), path, dict(about))
        path.chmod(mode)
        self.sums[name] = FileSum.of(path)

    def publish(self, manifest: str) -> None:
        """Rename all new files to their final names, and last the manifest.

        While the other files are renamed, the manifest exists under its temporary name. A folder
        with committed names and without any manifest has therefore lost its manifest.
        """
        path = self._begin(file_names.MANIFEST)
        path.write_text(manifest, encoding="utf-8")
        for name in self._begun:
            os.replace(self._temporary(name), self._folder / name)  # noqa: PTH105

    def _begin(self, name: str) -> Path:
        """Create the temporary file of a name, with the permissions that the umask leaves."""
        path = self._temporary(name)
        path.unlink(missing_ok=True)
        self._begun.append(name)
        path.touch(exist_ok=False)
        return path

    def _temporary(self, name: str) -> Path:
        return self._folder / temporary_name(name)
