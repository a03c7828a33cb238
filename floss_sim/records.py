"""The run record: what a run did, in columns with units, committed atomically.

A run folder holds::

    run.json                  what is being run: settings, fingerprints, provenance (never changes)
    manifest.json             what is committed: rounds, timing, and the names of the files below
    rounds-*.parquet          one row a round          (ROUNDS)
    transfers-*.parquet       one row a transfer       (TRANSFERS)
    model-*.floss             P * M at each evaluated round, as the wire message of a download
    checkpoint-*.safetensors  the learner's state after the last committed round
    test.json                 test metrics by round, once they have been asked for
    diverged.json             why the run cannot go on, if its numbers ceased to be finite
    host.jsonl                host seconds and memory: not part of the data, never compared

Every commit writes new files and then replaces the manifest in one rename; files that no manifest
names are ignored and swept up by the next writer. A process that is killed at any moment leaves
the last committed state. One writer at a time holds ``run.lock``.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import resource
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from floss_sim.errors import RecordError, RecordLockedError
from floss_sim.messages import Dispatch, Snapshot

RECORD_VERSION = 2


def _schema(*columns: tuple[str, pa.DataType, bool, str]) -> pa.Schema:
    return pa.schema(
        [
            pa.field(name, kind, nullable, metadata={"description": description})
            for name, kind, nullable, description in columns
        ]
    )


ROUNDS = _schema(
    ("round", pa.int32(), False, "1-based number of the round"),
    ("version", pa.int32(), False, "global version after the round's server step"),
    ("opened_at_s", pa.float64(), False, "simulated instant of the first dispatch, seconds"),
    ("closed_at_s", pa.float64(), False, "simulated instant of the server step, seconds"),
    ("reports", pa.int32(), False, "updates that were aggregated"),
    (
        "down_bytes",
        pa.int64(),
        False,
        "payload bytes sent in downloads, first ones included",
    ),
    ("up_bytes", pa.int64(), False, "payload bytes sent in all uploads of the round"),
    ("wasted_bytes", pa.int64(), False, "of these, bytes for updates that were not aggregated"),
    ("wire_bytes", pa.int64(), False, "bytes on the wire, headers and set-up included"),
    ("accuracy", pa.float64(), True, "validation accuracy of P * M, 0 to 1; null: not evaluated"),
    ("loss", pa.float64(), True, "validation cross-entropy of P * M, nats"),
    ("dense_accuracy", pa.float64(), True, "diagnostic: validation accuracy of dense P"),
    ("dense_loss", pa.float64(), True, "diagnostic: validation cross-entropy of dense P, nats"),
)
TRANSFERS = _schema(
    ("sequence", pa.int64(), False, "number of the dispatch in the run, from 0"),
    ("round", pa.int32(), False, "1-based round in which the update was aggregated or lost"),
    ("client", pa.int32(), False, "client, 0 to fleet - 1"),
    (
        "direction",
        pa.string(),
        False,
        "'down': server to client; 'up': client to server; 'first': downloaded once by a client",
    ),
    ("version", pa.int32(), False, "global version that the client downloaded"),
    ("nbytes", pa.int64(), False, "encoded bytes of the payload"),
    ("entries", pa.int64(), False, "adapter entries that the payload carries"),
    ("examples", pa.int32(), False, "local examples; 0 for downloads"),
    (
        "started_at_s",
        pa.float64(),
        False,
        "simulated instant at which the transfer starts, seconds",
    ),
    (
        "ended_at_s",
        pa.float64(),
        False,
        "simulated instant of the last byte's arrival or of an interruption, seconds",
    ),
    ("sent_bytes", pa.int64(), False, "bytes of the payload that were sent"),
    ("wire_bytes", pa.int64(), False, "bytes on the wire, headers and set-up included"),
    ("alone_s", pa.float64(), False, "seconds that the transfer takes where nobody else sends"),
    ("fate", pa.string(), False, "aggregated, late, cancelled, dropped or offline"),
)
_SCHEMAS = {"rounds": ROUNDS, "transfers": TRANSFERS}


@dataclass(frozen=True)
class RunRecord:
    """A run as data: its description and its two tables (schemas ROUNDS and TRANSFERS)."""

    description: Mapping[str, Any]
    rounds: pa.Table
    transfers: pa.Table

    def evaluated(self) -> pa.Table:
        """Return the evaluated rounds: the columns of ROUNDS plus cumulative ``total_bytes``."""
        both = pc.cumulative_sum(pc.add(self.rounds["down_bytes"], self.rounds["up_bytes"]))
        table = self.rounds.append_column("total_bytes", both)
        return table.filter(pc.is_valid(table["accuracy"]))


@dataclass(frozen=True)
class Committed:
    """What a run folder's manifest says has been committed."""

    rounds: int = 0
    timing: str = ""
    network: str = ""
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    models: Mapping[int, str] = field(default_factory=dict)
    checkpoint: str = ""
    checkpoint_version: int = 0

    def files(self) -> set[str]:
        """Return the names of all files that are part of the record."""
        parts = {name for names in self.parts.values() for name in names}
        return parts | set(self.models.values()) | {self.checkpoint}


def fingerprint(ingredients: Mapping[str, Any]) -> str:
    """Return the SHA-256 in hex of a JSON-able mapping, whatever its key order."""
    text = json.dumps(ingredients, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old content or the new, never a part.

    Raises:
        RecordError: The file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error.strerror}") from None


class RunFolder:
    """One run's folder on disk; create it with :meth:`open`, write it under :meth:`lock`."""

    def __init__(self, path: Path, description: Mapping[str, Any]) -> None:
        self.path = path
        self.description = description

    @classmethod
    def open(cls, path: Path, description: Mapping[str, Any]) -> RunFolder:
        """Create the folder of a run, or open it where the same trajectory was begun before.

        Args:
            path: The folder; its parents are created.
            description: ``trajectory`` (ingredients of the fingerprint) and ``provenance``.

        Raises:
            RecordError: The folder cannot be written, or holds another run.
        """
        folder = cls(path, description)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordError(f"cannot create {path}: {error.strerror}") from None
        if not (path / "run.json").exists():
            strangers = [p for p in path.iterdir() if not p.name.startswith((".", "run.lock"))]
            if strangers and not (path / "run.json").exists():  # nobody began it meanwhile
                raise RecordError(f"{path} is not empty and holds no run; choose another folder")
            write_atomically(path / "run.json", json.dumps(description, indent=2) + "\n")
            return folder
        found = cls.read(path)
        differing = _differences(found.description["trajectory"], description["trajectory"])
        if differing:
            raise RecordError(
                f"{path} holds another run (different: {', '.join(differing)}); "
                "choose another folder"
            )
        return found

    @classmethod
    def read(cls, path: Path) -> RunFolder:
        """Return the run folder at a path, for reading.

        Raises:
            RecordError: No run there, or one of another record version.
        """
        if path.exists() and not (path / "run.json").exists():
            raise RecordError(f"{path} is not a run folder (it has no run.json){_below(path)}")
        description = _read_json(path / "run.json")
        if description.get("record_version") != RECORD_VERSION:
            raise RecordError(f"{path} holds no run of record version {RECORD_VERSION}")
        if not isinstance(description.get("trajectory"), dict):
            raise RecordError(f"{path / 'run.json'} does not say what was run; remove the folder")
        return cls(path, description)

    @contextmanager
    def lock(self, wait_s: float = 0) -> Iterator[None]:
        """Hold the folder's writer lock.

        Args:
            wait_s: How long to wait for another writer; negative means for ever.

        Raises:
            RecordLockedError: Another process holds it.
            RecordError: The lock cannot be created.
        """
        lock = FileLock(self.path / "run.lock", timeout=wait_s)
        try:
            with lock:
                self._sweep()
                yield
        except Timeout:
            raise RecordLockedError(f"{self.path} is being written by another process") from None

    def committed(self) -> Committed:
        """Return what has been committed; nothing for a run that has just begun."""
        path = self.path / "manifest.json"
        if not path.exists():
            return Committed()
        try:
            fields = _read_json(path)
            return Committed(
                rounds=int(fields["rounds"]),
                timing=str(fields["timing"]),
                network=str(fields.get("network", "")),
                parts={kind: tuple(names) for kind, names in fields["parts"].items()},
                models={int(number): str(name) for number, name in fields["models"].items()},
                checkpoint=str(fields["checkpoint"]),
                checkpoint_version=int(fields["checkpoint_version"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise RecordError(f"{path} is not a manifest; remove the run folder") from None

    def record(self) -> RunRecord:
        """Return the committed tables.

        Raises:
            RecordError: A committed file is missing or damaged.
        """
        parts = self.committed().parts
        tables = {kind: self._table(kind, parts.get(kind, ())) for kind in _SCHEMAS}
        return RunRecord(self.description, tables["rounds"], tables["transfers"])

    def _table(self, kind: str, names: Sequence[str]) -> pa.Table:
        schema = _SCHEMAS[kind]
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
        committed = self.committed()
        path = self.path / committed.checkpoint
        try:
            return _unpack(committed.checkpoint_version, load_file(path))
        except (OSError, SafetensorError) as error:
            raise RecordError(f"cannot read {path}: {error}") from None

    def model(self, round_: int) -> bytes:
        """Return the download message of P * M after an evaluated round.

        Raises:
            RecordError: The round was not evaluated, or the file is missing.
        """
        name = self.committed().models.get(round_)
        if name is None:
            raise RecordError(f"{self.path} holds no model of round {round_}")
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
        """Append rounds to the record in one rename.

        Rows whose timing fingerprint differs from the committed one replace the tables: the
        caller then passes every row since round 1 (the same trajectory on another network).

        Raises:
            RecordError: A file cannot be written; the last committed state stands.
        """
        before = self.committed()
        last = rounds[-1]["round"]
        kept = before.parts if before.timing == timing else {}
        stem = f"{last:06d}-{timing[:8]}"
        try:
            parts = {
                kind: [*kept.get(kind, ()), self._write_part(f"{kind}-{stem}", kind, rows)]
                for kind, rows in (("rounds", rounds), ("transfers", transfers))
            }
            checkpoint = f"checkpoint-{stem}.safetensors"
            save_file(_pack(snapshot), self.path / checkpoint)
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
            rows = pa.Table.from_pylist(list(rows), schema=_SCHEMAS[kind])
        pq.write_table(rows, self.path / name)
        return name

    def _sweep(self) -> None:
        """Remove what an interrupted commit left behind."""
        named = self.committed().files()
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

    def note_host(
        self, after: int, round_: int, seconds: float, device_peak_bytes: int | None = None
    ) -> None:
        """Append what a run has taken since it was opened, for people and estimates.

        Args:
            after: Rounds that were committed when it was opened.
            round_: The last round now.
            seconds: Host seconds in between.
            device_peak_bytes: The most memory of the device that trains, if it is not the host.
        """
        peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        note = {"after": after, "round": round_, "host_s": seconds, "peak_memory_kb": peak_kb}
        if device_peak_bytes is not None:
            note["device_peak_kb"] = device_peak_bytes // 1024
        with (self.path / "host.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(note) + "\n")

    def noted(self) -> tuple[int, float]:
        """Return for how many rounds host seconds were noted, and these; lost notes are skipped."""
        path, last = self.path / "host.jsonl", dict[int, tuple[int, float]]()
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            try:
                note = json.loads(line)
                after, round_, seconds = int(note["after"]), int(note["round"]), note["host_s"]
                last[after] = round_ - after, float(seconds)
            except (ValueError, KeyError, TypeError):
                continue
        return sum(n for n, _ in last.values()), math.fsum(s for _, s in last.values())

    def host_s_per_round(self) -> float | None:
        """Return the mean host seconds of a round as noted; None where nothing usable is."""
        rounds, seconds = self.noted()
        return seconds / rounds if rounds else None

    def note_divergence(self, reason: str) -> None:
        """Keep why the run cannot go on: the same trajectory diverges every time.

        Raises:
            RecordError: It cannot be written.
        """
        write_atomically(self.path / "diverged.json", json.dumps({"reason": reason}) + "\n")

    def divergence(self) -> str | None:
        """Return why the run cannot go on, or None."""
        path = self.path / "diverged.json"
        return str(_read_json(path).get("reason")) if path.exists() else None

    def test_metrics(self, round_: int) -> dict[str, float] | None:
        """Return the cached test metrics of a round's model, or None."""
        path = self.path / "test.json"
        found = _read_json(path).get(str(round_)) if path.exists() else None
        return found if isinstance(found, dict) else None

    def tested(self, round_: int, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
        """Return the test metrics of a round's model, measured once; the caller holds the lock."""
        metrics = self.test_metrics(round_)
        if metrics is None:
            metrics = measure()
            self.cache_test_metrics(round_, metrics)
        return metrics

    def cache_test_metrics(self, round_: int, metrics: Mapping[str, float]) -> None:
        """Keep the test metrics of a round's model."""
        path = self.path / "test.json"
        known = _read_json(path) if path.exists() else {}
        write_atomically(path, json.dumps({**known, str(round_): dict(metrics)}, indent=1) + "\n")


def _pack(snapshot: Snapshot) -> dict[str, NDArray[Any]]:
    """Return one flat mapping of a snapshot's tensors and its clients' states."""
    clients = {
        f"client/{client}/{name}": tensor
        for client, state in snapshot.clients.items()
        for name, tensor in state.items()
    }
    flights = {
        f"flight/{sent.sequence}/{key}": array
        for sent in snapshot.in_flight
        for key, array in _pack_dispatch(sent).items()
    }
    return {**snapshot.tensors, **clients, **flights}


def _pack_dispatch(sent: Dispatch) -> dict[str, NDArray[Any]]:
    numbers = [sent.client, sent.version, sent.nbytes, sent.entries, sent.held]
    return {"numbers": np.array(numbers, np.int64), "blob": np.frombuffer(sent.blob, np.uint8)}


def _unpack(version: int, tensors: Mapping[str, NDArray[Any]]) -> Snapshot:
    own: dict[str, NDArray[Any]] = {}
    clients: dict[int, dict[str, NDArray[Any]]] = {}
    flights: dict[int, dict[str, NDArray[Any]]] = {}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition("/")
        if kind in ("client", "flight"):
            number, _, key = rest.partition("/")
            nested = clients if kind == "client" else flights
            nested.setdefault(int(number), {})[key] = tensor
        else:
            own[name] = tensor
    sent = (_unpack_dispatch(number, arrays) for number, arrays in sorted(flights.items()))
    return Snapshot(version, own, clients, tuple(sent))


def _unpack_dispatch(sequence: int, arrays: Mapping[str, NDArray[Any]]) -> Dispatch:
    client, version, nbytes, entries, held = (int(n) for n in arrays["numbers"])
    blob = arrays["blob"].tobytes()
    return Dispatch(sequence, client, version, nbytes, entries, blob, held)


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


def _below(path: Path) -> str:
    """Return a hint where run folders lie one or two levels below a path."""
    for pattern in ("*/run.json", "*/*/run.json"):
        if found := sorted(file.parent for file in path.glob(pattern)):
            others = f", and {len(found) - 1} more" if len(found) > 1 else ""
            return f"; {found[0]} is one{others}"
    return ""


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    return sorted(k for k in {*found, *wanted} if found.get(k) != wanted.get(k))
