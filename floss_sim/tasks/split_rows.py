"""Rows of splits: read when they are first asked for, and found by the usual names of splits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from floss_sim.tasks.table_cells import CsvForm

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class SplitRows:
    """The rows of one split as they were read.

    Attributes:
        table: At least those columns that a task uses and that exist once.
        columns: Names of all columns, repeated where a file repeats a name.
        mixed: Columns whose values are of several kinds, and those kinds.
        form: Form of CSV files, whose cells are strings without a type; None for other formats.
    """

    table: Dataset
    columns: tuple[str, ...]
    mixed: Mapping[str, str] = field(default_factory=dict)
    form: CsvForm | None = None


def dataset_of(table: pa.Table, features: Mapping[str, Any] | None = None) -> Dataset:
    """Return a table in memory as a data set; ``features`` are given for no column or for all."""
    import datasets

    return datasets.Dataset(
        datasets.table.InMemoryTable(table),
        info=datasets.DatasetInfo(features=datasets.Features(features)) if features else None,
        fingerprint="in-memory",  # otherwise the library hashes the whole table
    )


class Splits(Mapping[str, SplitRows]):
    """Splits of a data set by name; the rows of a split are read when it is first asked for.

    A split is also found by another usual name of it, such as ``validation`` for a folder ``val``,
    where no split has that name itself.

    Attributes:
        files: Files of each split; empty for a single file and for a hub id.
        left_out: Files of a folder that belong to no split.
    """

    def __init__(
        self,
        names: Sequence[str],
        load: Callable[[str], SplitRows],
        canonical: Callable[[str], str],
        files: Mapping[str, Sequence[Path]] | None = None,
        left_out: Sequence[Path] = (),
    ) -> None:
        self._names, self._load, self._canonical = tuple(names), load, canonical
        self._rows: dict[str, SplitRows] = {}
        self.files, self.left_out = files or {}, tuple(left_out)

    def own_name(self, name: str) -> str:
        """Return a split's own name; raises KeyError if no split, or several, fit the name."""
        if name in self._names:
            return name
        same = [own for own in self._names if self._canonical(own) == self._canonical(name)]
        if len(same) != 1:
            raise KeyError(name)
        return same[0]

    def __getitem__(self, name: str) -> SplitRows:
        """Return the rows of a split; raises TaskError if they cannot be read."""
        own = self.own_name(name)
        if own not in self._rows:
            self._rows[own] = self._load(own)
        return self._rows[own]

    def __contains__(self, name: object) -> bool:
        """Return whether a split has this name, without reading it."""
        try:
            return bool(self.own_name(str(name)))
        except KeyError:
            return False

    def __iter__(self) -> Iterator[str]:
        """Return the splits' own names."""
        return iter(self._names)

    def __len__(self) -> int:
        """Return the number of splits."""
        return len(self._names)

    def read(self) -> Mapping[str, SplitRows]:
        """Return the splits that have been read."""
        return self._rows
