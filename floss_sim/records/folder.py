"""Run folder: a run record on disk, with atomic commits and checked files.

A run folder contains::

    run.json                  description: settings, fingerprints, provenance (never changes)
    manifest.json             committed state: rounds, timing, names and SHA-256 of the files
    rounds-*.parquet          one row per round        (schema.ROUNDS)
    transfers-*.parquet       one row per transfer     (schema.TRANSFERS)
    model-*.floss             P * M at each evaluated round, encoded as a download
    checkpoint-*.safetensors  the learner's state after the last committed round
    test.json                 test metrics by round, with a bit for each prediction
    network.json.gz           the network of the record, if it is no packaged one
    diverged.json             reason why training diverged (an update was not finite), if it did
    host.jsonl                host seconds and memory: not part of the data, never compared

Every commit writes new files and then replaces the manifest in one rename. If the process is killed
at any moment, the last committed state remains. Files with names of this list that the manifest
does not name are ignored, and the next writer deletes them; files with other names are never
touched. A writer holds ``run.lock``; there is one writer at a time.

Every reader checks what it reads. The manifest has the length and SHA-256 of ``run.json`` and of
every file that it names. It ends with its own SHA-256, as do the other JSON files; only
``host.jsonl`` has none. Whatever does not agree is a RecordError, and nothing is changed. A folder
by an earlier version has no checksums: it is read as it is, and its next commit adds them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from safetensors import SafetensorError

from floss_sim.errors import RecordError, RecordLockedError
from floss_sim.files import missing_folders, remove_empty
from floss_sim.fingerprints import fingerprint
from floss_sim.protocol import Snapshot
from floss_sim.records import file_names, side_files
from floss_sim.records.checkpoint import check_identity, identity, pack, read_checkpoint
from floss_sim.records.commit_files import CommitFiles
from floss_sim.records.file_checks import REMEDY, FileChecks, is_settled
from floss_sim.records.leftovers import (
    delete_leftovers,
    file_without_manifest,
    holds_leftovers,
)
from floss_sim.records.manifest import Manifest, manifest_text, read_manifest
from floss_sim.records.network_file import read_network, write_network
from floss_sim.records.on_test import (
    COUNT,
    OWN_RIGHT,
    RIGHT,
    ModelOnTest,
    pack_own,
    read_model,
    read_own,
)
from floss_sim.records.schema import RECORD_VERSION, RunRecord
from floss_sim.records.sealed_json import read_sealed, write_sealed
from floss_sim.records.tables import as_table, read_tables, sum_on_disk

T = TypeVar("T")


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

    def __init__(
        self,
        path: Path,
        description: Mapping[str, Any],
        checks: FileChecks | None = None,
        sealed: bool = True,
    ) -> None:
        self.path = path
        self.description = description
        self._checks = checks or FileChecks()
        self._sealed = sealed
        self._read_manifest: tuple[tuple[int, int, int], Manifest] | None = None
        self._tables_in_lock: tuple[Manifest, dict[str, pa.Table]] | None = None
        self._created: list[Path] | None = None  # folders made by this object, with its run.json

    @classmethod
    def open(
        cls, path: Path, description: Mapping[str, Any], checks: FileChecks | None = None
    ) -> RunFolder:
        """Create the folder of a run, or open the existing folder of the same trajectory.

        A new folder is removed again if an error ends :meth:`lock` before the first commit.

        Args:
            path: Path of the folder; its parents are created.
            description: Content of ``run.json``: ``trajectory`` (ingredients of the fingerprint)
                and provenance, such as the package version.
            checks: Verification of the files; by default one that remembers nothing on disk.

        Raises:
            RecordError: The folder cannot be written, is damaged, or contains another run or other
                files.
        """
        missing = missing_folders(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordError(f"cannot create {path}: {error.strerror}") from None
        if not (path / file_names.DESCRIPTION).exists():
            ignored = (".", file_names.LOCK)
            strangers = [p for p in path.iterdir() if not p.name.startswith(ignored)]
            # checked again, because another process may have created the run meanwhile
            if strangers and not (path / file_names.DESCRIPTION).exists():
                raise RecordError(f"{path} is not empty and contains no run; choose another folder")
            made = cls(path, description, checks)
            made._describe(missing)
            return made
        found = cls.read(path, checks)
        differing = _differences(found.description["trajectory"], description["trajectory"])
        if differing:
            raise RecordError(
                f"{path} contains another run (different: {', '.join(differing)}); "
                "choose another folder"
            )
        return found

    @classmethod
    def read(cls, path: Path, checks: FileChecks | None = None) -> RunFolder:
        """Return the existing run folder at a path, for reading.

        Temporary files of processes that were killed are deleted, if nobody writes the folder.

        Args:
            path: Path of the folder.
            checks: Verification of the files; by default one that remembers nothing on disk.

        Raises:
            RecordError: The path is not a run folder, its record version is not supported, or its
                ``run.json`` is damaged.
        """
        file, remedy = path / file_names.DESCRIPTION, checks.remedy if checks else REMEDY
        if not path.exists():
            raise RecordError(f"no run folder at {path}")
        if not file.exists():
            raise RecordError(
                f"{path} is not a run folder (it has no run.json){_nested_hint(path)}"
            )
        description, sealed = read_sealed(file, remedy)
        if description.get("record_version") != RECORD_VERSION:
            raise RecordError(f"{path} is not a run of record version {RECORD_VERSION}")
        if not isinstance(description.get("trajectory"), dict):
            raise RecordError(f"{file} does not say what was run; {remedy}")
        if fingerprint(description["trajectory"]) != description.get("fingerprint"):
            raise RecordError(
                f"{file} is damaged (its fingerprint is not that of its trajectory); {remedy}"
            )
        found = cls(path, description, checks, sealed)
        if holds_leftovers(path):
            found._tidy()
        return found

    def _tidy(self) -> None:
        """Delete what killed processes have left, unless the folder is locked or cannot be written.

        Nothing is deleted from a damaged folder.
        """
        with suppress(RecordError, OSError), self.lock():
            pass

    @contextmanager
    def lock(self, wait_s: float = 0) -> Iterator[None]:
        """Hold the folder's writer lock for the block; first check, and delete uncommitted files.

        Args:
            wait_s: Seconds to wait for another writer; negative: without limit.

        Raises:
            RecordLockedError: Another process still holds the lock after ``wait_s`` seconds.
            RecordError: The folder is damaged; nothing was deleted.
        """
        with lock_folder(self.path, wait_s):
            if not self.manifest().rounds and not (self.path / file_names.DESCRIPTION).exists():
                self._describe([])  # another process has created the run and removed it again
            # tables are read first, so that damage is refused before anything is deleted
            self._tables_in_lock = self._read_steadily(lambda m: (m, self._tables(m)))
            delete_leftovers(self.path, self.manifest().names())
            try:
                yield
            except BaseException:
                self._withdraw()
                raise

    def _describe(self, created: list[Path]) -> None:
        """Write ``run.json`` of a new run, and note which folders were created for it."""
        write_sealed(self.path / file_names.DESCRIPTION, self.description)
        self._created = created

    def _withdraw(self) -> None:
        """Remove a run that this object created, unless its folder holds anything else by now.

        The caller must hold the lock.
        """
        own = {file_names.DESCRIPTION, file_names.LOCK}
        names = {path.name for path in self.path.iterdir() if not path.name.startswith(".")}
        further = {file_names.NETWORK, file_names.TEST}  # of no use without a round
        if self._created is None or names - further != own:
            return
        with suppress(OSError):
            for name in sorted(names):
                (self.path / name).unlink()
        remove_empty(self._created)
        self._created = None

    def manifest(self) -> Manifest:
        """Return the committed state; an empty manifest before the first commit.

        The files are not checked, see :meth:`check`.

        Raises:
            RecordError: The manifest is missing although something was committed, is damaged, or
                contradicts itself.
        """
        path = self.path / file_names.MANIFEST
        try:
            found = path.stat()
        except FileNotFoundError:
            # earlier versions left files without a manifest when they were killed
            if self._sealed and (left := file_without_manifest(self.path)):
                raise RecordError(
                    f"{self.path} has {left} but no manifest.json; {self._checks.remedy}"
                ) from None
            return Manifest()
        except OSError as error:
            raise RecordError(f"cannot read {path}: {error.strerror}") from None
        mark = _mark(found)
        if self._read_manifest and self._read_manifest[0] == mark:
            return self._read_manifest[1]
        made = read_manifest(path, self._checks.remedy)
        self._read_manifest = (mark, made) if is_settled(found.st_mtime_ns) else None
        return made

    def check(self, anew: bool = False) -> Manifest:
        """Check every committed file against its length and SHA-256; return the committed state.

        Files that were verified before and have not changed since are not read again. The files of
        a folder without checksums (by an earlier version) must only exist.

        Args:
            anew: Whether to read all files, even if they were verified before.

        Raises:
            RecordError: A file is missing or damaged; the message names it.
        """
        made = self._read_steadily(lambda committed: self._check_files(committed, anew))
        self._test_metrics()
        self.divergence()
        return made

    def _check_files(self, committed: Manifest, anew: bool) -> Manifest:
        try:
            self._checks.verify(self.path, committed.sums(), anew)
        except RecordError:
            if committed.checkpoint:
                path = self.path / committed.checkpoint
                check_identity(path, self.description, self._checks.remedy, wholly=False)
            raise
        return committed

    def _verify_file(self, committed: Manifest, name: str) -> None:
        """Check one file, and that ``run.json`` is the one of the manifest."""
        for each in (name, file_names.DESCRIPTION):
            self._checks.verify_file(self.path, each, committed.files.get(each))

    def _read_steadily(self, read: Callable[[Manifest], T]) -> T:
        """Return what a function reads; repeat it if another process has committed meanwhile."""
        while True:
            committed = self.manifest()
            try:
                return read(committed)
            except RecordError:
                if self.manifest() == committed:
                    raise

    def record(self) -> RunRecord:
        """Return the committed tables.

        Raises:
            RecordError: A committed file is missing or damaged, or contradicts the manifest.
        """
        tables = self._read_steadily(self._tables)
        return RunRecord(self.description, tables["rounds"], tables["transfers"])

    def _tables(self, committed: Manifest) -> dict[str, pa.Table]:
        self.check()
        read, self._tables_in_lock = self._tables_in_lock, None
        if read and read[0] == committed:
            return read[1]
        return read_tables(self.path, committed, self._checks.remedy, self.fleet_size)

    @property
    def fleet_size(self) -> int | None:
        """Number of clients; None if the description does not tell it."""
        fleet = self.description["trajectory"].get("fleet")
        count = fleet.get("clients") if isinstance(fleet, Mapping) else None
        return count if isinstance(count, int) else None

    def snapshot(self) -> Snapshot:
        """Return the learner's state after the last committed round.

        Raises:
            RecordError: The checkpoint is missing or damaged, or is that of another run.
        """

        def read(committed: Manifest) -> Snapshot:
            name, remedy = committed.checkpoint, self._checks.remedy
            if not name:
                raise RecordError(f"{self.path} has no checkpoint; run more rounds")
            path = self.path / name
            check_identity(path, self.description, remedy)
            self._verify_file(committed, name)
            return read_checkpoint(path, committed.checkpoint_version, remedy)

        return self._read_steadily(read)

    def model(self, round_: int) -> bytes:
        """Return P * M after an evaluated round, encoded as a download.

        Raises:
            RecordError: The round was not evaluated, or its file cannot be read.
        """

        def read(committed: Manifest) -> bytes:
            name = committed.models.get(round_)
            if name is None:
                raise RecordError(
                    f"{self.path} has no model of round {round_}; only evaluated rounds have one"
                )
            self._verify_file(committed, name)
            try:
                return (self.path / name).read_bytes()
            except OSError as error:
                raise RecordError(f"cannot read {self.path / name}: {error.strerror}") from None

        return self._read_steadily(read)

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
            timing: Fingerprint (hex) of network, policy and the simulator's timing rules.
            network: Name of the network profile.
            snapshot: State of the learner after the last of these rounds.
            models: Encoded P * M of the evaluated rounds, by round.

        Raises:
            RecordError: A file cannot be written; the last committed state remains valid.
        """
        before = self.manifest()
        made = before.next(rounds[-1]["round"], timing, network, snapshot.version, models)
        tables = {"rounds": rounds, "transfers": transfers}
        try:
            with CommitFiles(self.path) as files:
                for kind, rows in tables.items():
                    files.write_table(made.parts[kind][-1], as_table(kind, rows))
                files.write_tensors(made.checkpoint, pack(snapshot), identity(self.description))
                for number, blob in models.items():
                    files.write_bytes(made.models[number], blob)
                known = {**before.files, **files.sums}
                sums = {n: known.get(n) or sum_on_disk(self.path / n) for n in made.all_names()}
                made = made.model_copy(update={"files": sums})
                files.publish(manifest_text(made))
            self._read_manifest = _mark((self.path / file_names.MANIFEST).stat()), made
        except (OSError, SafetensorError, pa.ArrowException, ValueError) as error:
            raise RecordError(f"cannot write {self.path}: {error}") from None
        if before.checkpoint not in ("", made.checkpoint):
            (self.path / before.checkpoint).unlink(missing_ok=True)

    def keep_network(self, text: str | None) -> None:
        """Store the network of the record as a text; None if it is a packaged one.

        The caller must hold the lock.

        Raises:
            RecordError: The file cannot be written.
        """
        write_network(self.path, text)

    def kept_network(self) -> str | None:
        """Return the stored network as a text, or None; the record may be of another one.

        Raises:
            RecordError: The file is damaged.
        """
        return read_network(self.path)

    def note_divergence(self, reason: str) -> None:
        """Store the reason why training diverged; the same trajectory would diverge again.

        Raises:
            RecordError: The file cannot be written.
        """
        side_files.write_divergence(self.path, self._run, reason)

    def divergence(self) -> str | None:
        """Return the stored reason why training diverged, or None.

        Raises:
            RecordError: The stored reason is damaged.
        """
        return side_files.read_divergence(self.path, self._run, self._checks.remedy)

    def test_metrics(self, round_: int) -> dict[str, float] | None:
        """Return the cached test accuracy and loss of a round's model, or None.

        Raises:
            RecordError: The stored metrics are damaged.
        """
        found = self._test_metrics().get(str(round_))
        return found and {k: v for k, v in found.items() if k not in (RIGHT, COUNT, OWN_RIGHT)}

    def note_on_test(self, round_: int, metrics: Mapping[str, float]) -> None:
        """Store further test metrics of a round's model, by name, beside those that are known.

        The caller must hold the lock.

        Raises:
            RecordError: The file cannot be written, or the stored metrics are damaged.
        """
        known = self._test_metrics().get(str(round_), {})
        self._cache({round_: {**known, **metrics}})

    def note_own_on_test(self, right: Mapping[int, NDArray[np.float64]]) -> None:
        """Store by round what the clients' own models get right on the test split.

        The caller must hold the lock.

        Args:
            right: By round, as of :func:`floss_sim.records.on_test.pack_own`.

        Raises:
            RecordError: The file cannot be written, or the stored metrics are damaged.
        """
        known = self._test_metrics()
        packed = {number: {OWN_RIGHT: pack_own(right_M)} for number, right_M in right.items()}
        self._cache({n: {**known.get(str(n), {}), **made} for n, made in packed.items()})

    def own_on_test(self, rounds: Iterable[int]) -> dict[int, NDArray[np.float64]]:
        """Return by round what is stored by :meth:`note_own_on_test`.

        Raises:
            RecordError: The stored results are damaged.
        """
        known = self._test_metrics()
        found = {number: read_own(known.get(str(number), {})) for number in rounds}
        return {number: made for number, made in found.items() if made is not None}

    def models_on_test(self, rounds: Iterable[int]) -> dict[int, ModelOnTest]:
        """Return what is cached of rounds' models on the test split, with the single predictions.

        Raises:
            RecordError: The stored results are damaged.
        """
        known = self._test_metrics()
        found = {number: read_model(known.get(str(number), {})) for number in rounds}
        return {number: made for number, made in found.items() if made is not None}

    def _test_metrics(self) -> dict[str, dict[str, Any]]:
        return side_files.read_test(self.path, self._run, self._checks.remedy)

    @property
    def _run(self) -> str:
        return str(self.description.get("fingerprint"))

    def ensure_on_test(
        self, rounds: Sequence[int], measure: Callable[[Sequence[bytes]], Sequence[ModelOnTest]]
    ) -> list[ModelOnTest]:
        """Return rounds' models on the test split; what is not known is measured and stored.

        The caller must hold the lock.

        Args:
            rounds: Evaluated rounds.
            measure: Measures encoded models, all in one call.

        Raises:
            RecordError: A round was not evaluated, or its model or the stored results are damaged.
        """
        found = self.models_on_test(rounds)
        if missing := [number for number in rounds if number not in found]:
            made = measure([self.model(number) for number in missing])
            new = dict(zip(missing, made, strict=True))
            self._cache({number: model.to_json() for number, model in new.items()})
            found |= new
        return [found[number] for number in rounds]

    def _cache(self, metrics: Mapping[int, Mapping[str, Any]]) -> None:
        known = self._test_metrics()
        new = {str(number): values for number, values in metrics.items()}
        side_files.write_test(self.path, self._run, {**known, **new})


@contextmanager
def lock_folder(path: Path, wait_s: float = 0) -> Iterator[None]:
    """Hold the writer lock of a run folder for the block, whatever the folder contains.

    Args:
        path: Run folder.
        wait_s: Seconds to wait for another writer; negative: without limit.

    Raises:
        RecordLockedError: Another process still holds the lock after ``wait_s`` seconds.
    """
    try:
        with FileLock(path / file_names.LOCK, timeout=wait_s):
            yield
    except Timeout:
        raise RecordLockedError(f"{path} is being written by another process") from None


def _nested_hint(path: Path) -> str:
    """Return a hint that names the run folders one or two levels below a path, or no text."""
    for pattern in ("*/run.json", "*/*/run.json"):
        if found := sorted(file.parent for file in path.glob(pattern)):
            others = f", and {len(found) - 1} more" if len(found) > 1 else ""
            return f"; {found[0]} is a run folder{others}"
    return ""


def _mark(found: os.stat_result) -> tuple[int, int, int]:
    """Return what tells one state of a file from another."""
    return found.st_ino, found.st_size, found.st_mtime_ns


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    return sorted(k for k in {*found, *wanted} if found.get(k) != wanted.get(k))
