"""Manifest of a run folder: the committed rounds, and name and SHA-256 of every file.

Version 3 lists length and SHA-256 of every file, ``run.json`` included, and is sealed itself.
Version 2 has names only: its folder is read as unchecked and becomes version 3 at its next commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, ValidationError

from floss_sim.errors import RecordError
from floss_sim.records import file_names
from floss_sim.records.file_checks import FileSum
from floss_sim.records.schema import MANIFEST_VERSION, RECORD_VERSION, SCHEMAS
from floss_sim.records.sealed_json import read_sealed, sealed_text

WholeNumber = Annotated[StrictInt, Field(ge=0)]


def _round_number(value: object) -> object:
    """Return a key of a JSON object as a round; only the plain decimal number is accepted."""
    if isinstance(value, str):
        if not (value.isascii() and value.isdecimal() and str(int(value[:10])) == value):
            raise ValueError("is no round number")
        return int(value)
    return value


RoundNumber = Annotated[int, BeforeValidator(_round_number)]


class Manifest(BaseModel):
    """Committed state of a run folder.

    Attributes:
        rounds: Number of committed rounds.
        timing: Timing fingerprint (hex) of the tables.
        network: Name of the network profile.
        parts: Names of the Parquet files of each table, in the order of their rounds.
        models: Name of the model's file, by evaluated round.
        checkpoint: Name of the checkpoint after the last round.
        checkpoint_version: Version of the global adapter in the checkpoint.
        files: Length and SHA-256 by file name, ``run.json`` included; empty in version 2.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    record_version: Literal[2, 3] = MANIFEST_VERSION
    rounds: WholeNumber = 0
    timing: Annotated[str, Field(pattern=r"^[0-9a-f]{8,}$")] | Literal[""] = ""
    network: str = ""
    parts: Mapping[str, tuple[str, ...]] = {}
    models: Mapping[RoundNumber, str] = {}
    checkpoint: str = ""
    checkpoint_version: WholeNumber = 0
    files: Mapping[str, FileSum] = {}

    @property
    def is_checked(self) -> bool:
        """Whether the manifest has the SHA-256 of every file, or nothing is committed yet."""
        return bool(self.files) or not self.rounds

    def names(self) -> tuple[str, ...]:
        """Return the names of all committed files, without ``run.json``."""
        if not self.rounds:
            return ()
        parts = (name for kind in SCHEMAS for name in self.parts[kind])
        return (*parts, *self.models.values(), self.checkpoint)

    def all_names(self) -> tuple[str, ...]:
        """Return the names of all committed files, ``run.json`` included."""
        return (*self.names(), file_names.DESCRIPTION) if self.rounds else ()

    def next(
        self, rounds: int, timing: str, network: str, version: int, evaluated: Iterable[int]
    ) -> Manifest:
        """Return the manifest after a commit, without sums.

        Args:
            rounds: Last round of the commit.
            timing: Timing fingerprint (hex); if it differs, the former tables are not kept.
            network: Name of the network profile.
            version: Version of the global adapter after the last round.
            evaluated: Rounds whose models the commit adds.
        """
        stem = file_names.stem(rounds, timing)
        kept = self.parts if self.timing == timing else {}
        models = {**self.models, **{n: file_names.model_name(n) for n in evaluated}}
        return Manifest(
            rounds=rounds,
            timing=timing,
            network=network,
            parts={kind: (*kept.get(kind, ()), f"{kind}-{stem}.parquet") for kind in SCHEMAS},
            models=dict(sorted(models.items())),
            checkpoint=f"checkpoint-{stem}.safetensors",
            checkpoint_version=version,
        )

    def sums(self) -> dict[str, FileSum | None]:
        """Return the expected sum of every file; None where a version 2 does not tell it."""
        if self.files:
            return dict(self.files)
        return dict.fromkeys(self.names())

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as plain values."""
        return self.model_dump(mode="json", exclude_none=True)

    def check(self) -> None:
        """Check that names, rounds and sums agree with each other.

        Raises:
            ValueError: They do not; the message says where.
        """
        if self.parts.keys() != SCHEMAS.keys():
            raise ValueError(f"it does not name the tables {' and '.join(SCHEMAS)}")
        stems = [self._stems(kind) for kind in SCHEMAS]
        rounds = [int(stem.partition("-")[0]) for stem in stems[0]]
        if stems[0] != stems[1] or rounds != sorted(set(rounds)) or rounds[-1:] != [self.rounds]:
            raise ValueError(f"its tables are not of {self.rounds} rounds")
        last = file_names.stem(self.rounds, self.timing)
        if any(stem[-8:] != last[-8:] for stem in stems[0]):
            raise ValueError("its tables are of another timing")
        if self.checkpoint != f"checkpoint-{last}.safetensors":
            raise ValueError(f"its checkpoint {self.checkpoint!r} is not of round {self.rounds}")
        for number, name in self.models.items():
            if name != file_names.model_name(number) or not 1 <= number <= self.rounds:
                raise ValueError(f"its model {name!r} is not of round {number}")
        if self.record_version >= MANIFEST_VERSION:
            self._check_sums()

    def _stems(self, kind: str) -> list[str]:
        for name in self.parts[kind]:
            if not file_names.is_data(name) or not name.startswith(f"{kind}-"):
                raise ValueError(f"it names {name!r}, which is no file of the {kind} table")
        return [name.removeprefix(f"{kind}-").partition(".")[0] for name in self.parts[kind]]

    def _check_sums(self) -> None:
        if self.files.keys() != {*self.all_names()}:
            raise ValueError("its checksums are not those of its files")
        tables = {name for kind in SCHEMAS for name in self.parts[kind]}
        if {name for name, found in self.files.items() if found.rows is not None} != tables:
            raise ValueError("its numbers of rows are not those of its tables")


def read_manifest(path: Path, remedy: str) -> Manifest:
    """Return a manifest that is whole and consistent.

    Raises:
        RecordError: The file cannot be read, is damaged, or contradicts itself.
    """
    content, sealed = read_sealed(path, remedy)
    content = {"record_version": RECORD_VERSION, **content}
    try:
        made = Manifest.model_validate(content)
        if sealed != (made.record_version >= MANIFEST_VERSION):
            raise ValueError("its version and its checksums do not agree")
        if made.files and not sealed:
            raise ValueError("its checksums have none of their own")
        made.check()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RecordError(f"{path} is damaged ({where}: {first['msg']}); {remedy}") from None
    except ValueError as error:
        raise RecordError(f"{path} is damaged ({error}); {remedy}") from None
    return made


def manifest_text(made: Manifest) -> str:
    """Return the text of a manifest's file, which ends with its own SHA-256.

    Raises:
        ValueError: The manifest contradicts itself.
    """
    made.check()
    return sealed_text(made.to_json())
