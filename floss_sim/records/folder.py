"""Run folder: a run record on disk, with atomic commits.

A run folder contains::

    run.json                  description: settings, fingerprints, provenance (never changes)
    manifest.json             committed state: rounds, timing, names of the files below
    rounds-*.parquet          one row per round        (schema.ROUNDS)
    transfers-*.parquet       one row per transfer     (schema.TRANSFERS)
    model-*.floss             P * M at each evaluated round, encoded as a download
    checkpoint-*.safetensors  the learner's state after the last committed round
    test.json                 test metrics by round, for the rounds that were tested
    diverged.json             reason why training diverged (an update was not finite), if it did
    host.jsonl                host seconds and memory: not part of the data, never compared

Every commit writes new files and then replaces the manifest in one rename. Files that the manifest
does not list are ignored and deleted by the next writer. If the process is killed at any moment,
the last committed state remains. A writer holds ``run.lock``; there is one writer at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from floss_sim.errors import RecordError, RecordLockedError
from floss_sim.files import write_atomically
from floss_sim.protocol import Snapshot
from floss_sim.records.checkpoint import pack, unpack
from floss_sim.records.schema import RECORD_VERSION, SCHEMAS, RunRecord


@dataclass(frozen=True)
class Manifest:
    """Committed state of a run folder: rounds, fingerprint of the timing, file names."""

    rounds: int = 0
    timing: str = ""
    network: str = ""
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    models: Mapping[int, str] = field(default_factory=dict)
    checkpoint: str = ""
    checkpoint_version: int = 0

    def files(self) -> set[str]:
        """Return the names of all committed files."""
        parts = {name for names in self.parts.values() for name in names}
        return parts | set(self.models.values()) | {self.checkpoint}


class RunFolder:
    """Folder of one run on disk. Create it with :meth:`open`; write only under :meth:`lock`.

    Example:
        >>> from pathlib import Path
        >>> from floss_sim import RunConfig, RunFolder, dense, load_profile, load_task, train
        >>> config = RunConfig.of(load_task("digits"), dense(), rank=1)
        >>> saved = train(config, load_profile("lte"), rounds=1, out="runs/one")
        >>> RunFolder.read(Path("runs/one")).record().rounds.num_rows
        1
    """

    def __init__(self, path: Path, description: Mapping[str, Any]) -> None:
        self.path = path
        self.description = description

    @classmethod
    def open(cls, path: Path, description: Mapping[str, Any]) -> RunFolder:
        """Create the folder of a run, or open the existing folder of the same trajectory.

        Args:
            path: Path of the folder; its parents are created.
            description: Content of ``run.json``: ``trajectory`` (ingredients of the fingerprint)
                and provenance, such as the package version.

        Raises:
            RecordError: The folder cannot be written, or contains another run or other files.
        """
        folder = cls(path, description)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordError(f"cannot create {path}: {error.strerror}") from None
        if not (path / "run.json").exists():
            strangers = [p for p in path.iterdir() if not p.name.startswith((".", "run.lock"))]
            # checked again, because another process may have created the run meanwhile
            if strangers and not (path / "run.json").exists():
                raise RecordError(f"{path} is not empty and contains no run; choose another folder")
            write_atomically(path / "run.json", json.dumps(description, indent=2) + "\n")
            return folder
        found = cls.read(path)
        differing = _differences(found.description["trajectory"], description["trajectory"])
        if differing:
            raise RecordError(
                f"{path} contains another run (different: {', '.join(differing)}); "
                "choose another folder"
            )
        return found

    @classmethod
    def read(cls, path: Path) -> RunFolder:
        """Return the existing run folder at a path, for reading.

        Raises:
            RecordError: The path is not a run folder, or its record version is not supported.
        """
        if path.exists() and not (path / "run.json").exists():
            raise RecordError(
                f"{path} is not a run folder (it has no run.json){_nested_hint(path)}"
            )
        description = _read_json(path / "run.json")
        if description.get("record_version") != RECORD_VERSION:
            raise RecordError(f"{path} is not a run of record version {RECORD_VERSION}")
        if not isinstance(description.get("trajectory"), dict):
            raise RecordError(f"{path / 'run.json'} does not say what was run; remove the folder")
        return cls(path, description)

    @contextmanager
    def lock(self, wait_s: float = 0) -> Iterator[None]:
        """Hold the folder's writer lock for the block; first delete uncommitted files.

        Args:
            wait_s: Seconds to wait for another writer; negative: without limit.

        Raises:
            RecordLockedError: Another process still holds the lock after ``wait_s`` seconds.
            RecordError: The manifest cannot be read.
        """
        lock = FileLock(self.path / "run.lock", timeout=wait_s)
        try:
            with lock:
                self._sweep()
                yield
        except Timeout:
            raise RecordLockedError(f"{self.path} is being written by another process") from None

    def manifest(self) -> Manifest:
        """Return the committed state; an empty manifest before the first commit."""
        path = self.path / "manifest.json"
        if not path.exists():
            return Manifest()
        try:
            fields = _read_json(path)
            return Manifest(
                rounds=int(fields["rounds"]),
                timing=str(fields["timing"]),
                network=str(fields.get("network", "")),
                parts={kind: tuple(names) for kind, names in fields["parts"].items()},
                models={int(number): str(name) for number, name in fields["models"].items()},
                checkpoint=str(fields["checkpoint"]),
                checkpoint_version=int(fields["checkpoint_version"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise RecordError(f"{path} is not a valid manifest; remove the run folder") from None

    def record(self) -> RunRecord:
        """Return the committed tables.

        Raises:
            RecordError: A committed file is missing or damaged.
        """
        parts = self.manifest().parts
        tables = {kind: self._table(kind, parts.get(kind, ())) for kind in SCHEMAS}
        return RunRecord(self.description, tables["rounds"], tables["transfers"])

    def _table(self, kind: str, names: Sequence[str]) -> pa.Table:
        schema = SCHEMAS[kind]
        try:
            tables = [pq.read_table(self.path / name, schema=schema) for name in names]
        except (OSError, pa.ArrowException) as error:
            raise RecordError(f"{self.path}: cannot read the {kind} table: {error}") from None
        return pa.concat_tables([schema.empty_table(), *tables]).combine_chunks()

    def snapshot(self) -> Snapshot:
        """Return the learner's state after the last committed round.

        Raises:
            RecordError: The checkpoint is missing or damaged.
        """
        committed = self.manifest()
        path = self.path / committed.checkpoint
        try:
            return unpack(committed.checkpoint_version, load_file(path))
        except (OSError, SafetensorError) as error:
            raise RecordError(f"cannot read {path}: {error}") from None

    def model(self, round_: int) -> bytes:
        """Return P * M after an evaluated round, encoded as a download.

        Raises:
            RecordError: The round was not evaluated, or its file cannot be read.
        """
        name = self.manifest().models.get(round_)
        if name is None:
            raise RecordError(
                f"{self.path} has no model of round {round_}; only evaluated rounds have one"
            )
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise RecordError(f"cannot read {self.path / name}: {error.strerror}") from None

    def commit(
        self,
        rounds: Sequence[Mapping[str, Any]],
        transfers: Sequence[Mapping[str, Any]] | pa.Table,
        *,
        timing: str,
        network: str = "",
        snapshot: Snapshot,
        models: Mapping[int, bytes],
    ) -> None:
        """Append rounds to the record, atomically.

        If ``timing`` differs from the committed fingerprint (the same trajectory on another
        network), the rows replace the committed tables; the caller then passes all rows since
        round 1.

        Args:
            rounds: Rows of the rounds table, at least one.
            transfers: Rows of the transfers table.
            timing: Fingerprint of network, policy and the simulator's timing rules.
            network: Name of the network profile.
            snapshot: State of the learner after the last of these rounds.
            models: Encoded P * M of the evaluated rounds, by round.

        Raises:
            RecordError: A file cannot be written; the last committed state remains valid.
        """
        before = self.manifest()
        last = rounds[-1]["round"]
        kept = before.parts if before.timing == timing else {}
        stem = f"{last:06d}-{timing[:8]}"
        try:
            parts = {
                kind: [*kept.get(kind, ()), self._write_part(f"{kind}-{stem}", kind, rows)]
                for kind, rows in (("rounds", rounds), ("transfers", transfers))
            }
            checkpoint = f"checkpoint-{stem}.safetensors"
            save_file(pack(snapshot), self.path / checkpoint)
            names = {number: f"model-{number:06d}.floss" for number in models}
            for number, blob in models.items():
                (self.path / names[number]).write_bytes(blob)
        except (OSError, SafetensorError, pa.ArrowException) as error:
            raise RecordError(f"cannot write {self.path}: {error}") from None
        manifest = {
            "record_version": RECORD_VERSION,
            "rounds": last,
            "timing": timing,
            "network": network,
            "parts": parts,
            "models": {str(k): v for k, v in sorted({**before.models, **names}.items())},
            "checkpoint": checkpoint,
            "checkpoint_version": snapshot.version,
        }
        write_atomically(self.path / "manifest.json", json.dumps(manifest, indent=1) + "\n")
        if before.checkpoint not in ("", checkpoint):
            (self.path / before.checkpoint).unlink(missing_ok=True)

    def _write_part(
        self, stem: str, kind: str, rows: Sequence[Mapping[str, Any]] | pa.Table
    ) -> str:
        name = f"{stem}.parquet"
        if not isinstance(rows, pa.Table):
            rows = pa.Table.from_pylist(list(rows), schema=SCHEMAS[kind])
        pq.write_table(rows, self.path / name)
        return name

    def _sweep(self) -> None:
        """Delete the files of an interrupted commit."""
        named = self.manifest().files()
        for pattern in (
            "*.parquet",
            "*.safetensors",
            "*.floss",
            ".manifest.json.*",
            ".test.json.*",
            ".diverged.json.*",
        ):
            for path in self.path.glob(pattern):
                if path.name not in named:
                    path.unlink(missing_ok=True)

    def note_divergence(self, reason: str) -> None:
        """Store the reason why training diverged; the same trajectory would diverge again.

        Raises:
            RecordError: The file cannot be written.
        """
        write_atomically(self.path / "diverged.json", json.dumps({"reason": reason}) + "\n")

    def divergence(self) -> str | None:
        """Return the stored reason why training diverged, or None."""
        path = self.path / "diverged.json"
        return str(_read_json(path).get("reason")) if path.exists() else None

    def test_metrics(self, round_: int) -> dict[str, float] | None:
        """Return the cached test metrics of a round's model, or None."""
        path = self.path / "test.json"
        found = _read_json(path).get(str(round_)) if path.exists() else None
        return found if isinstance(found, dict) else None

    def ensure_test_metrics(
        self, round_: int, measure: Callable[[], dict[str, float]]
    ) -> dict[str, float]:
        """Return the test metrics of a round's model, measured and stored if not yet known.

        The caller must hold the lock.
        """
        metrics = self.test_metrics(round_)
        if metrics is None:
            metrics = measure()
            self.cache_test_metrics(round_, metrics)
        return metrics

    def cache_test_metrics(self, round_: int, metrics: Mapping[str, float]) -> None:
        """Store the test metrics of a round's model."""
        path = self.path / "test.json"
        known = _read_json(path) if path.exists() else {}
        write_atomically(path, json.dumps({**known, str(round_): dict(metrics)}, indent=1) + "\n")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise RecordError(f"{path} is not JSON; remove the run folder") from None
    if not isinstance(content, dict):
        raise RecordError(f"{path} is not a JSON object; remove the run folder")
    return content


def _nested_hint(path: Path) -> str:
    """Return a hint that names the run folders one or two levels below a path, or no text."""
    for pattern in ("*/run.json", "*/*/run.json"):
        if found := sorted(file.parent for file in path.glob(pattern)):
            others = f", and {len(found) - 1} more" if len(found) > 1 else ""
            return f"; {found[0]} is a run folder{others}"
    return ""


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    return sorted(k for k in {*found, *wanted} if found.get(k) != wanted.get(k))
