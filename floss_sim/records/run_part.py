"""Part of a run: some of its rounds with the checkpoint after them, as bytes that can travel.

A worker without the run's folder continues a run from its first part, and returns the next one.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from safetensors import SafetensorError
from safetensors.numpy import load, save

from floss_sim.errors import RecordError
from floss_sim.records.checkpoint import identity, identity_in, pack, unpack
from floss_sim.records.folder import RunFolder
from floss_sim.records.row_checks import check_rows
from floss_sim.records.schema import SCHEMAS, RunRecord
from floss_sim.records.tables import check_tables, join_tables, read_table


@dataclass(frozen=True)
class RunPart:
    """Rounds ``after + 1`` to ``rounds`` of a run, and the checkpoint after the last of them.

    Attributes:
        after: Last round before the part.
        rounds: Last round of the part.
        timing: Timing fingerprint (hex) of the tables.
        network: Name of the network profile of the tables.
        version: Version of the global adapter in the checkpoint.
        tables: Parquet file of each table, by kind.
        checkpoint: safetensors file of the learner's state, with the identity of its run.
        models: Encoded P * M of the evaluated rounds, by round.
    """

    after: int
    rounds: int
    timing: str
    network: str
    version: int
    tables: Mapping[str, bytes] = field(repr=False)
    checkpoint: bytes = field(repr=False)
    models: Mapping[int, bytes] = field(repr=False)


def read_part(
    folder: RunFolder, after: int = 0, *, models: bool = True, record: RunRecord | None = None
) -> RunPart:
    """Return the committed rounds of a folder after a round.

    Args:
        folder: Run folder; the caller holds its lock.
        after: Last round before the part.
        models: Whether the part has the models of its evaluated rounds.
        record: The committed tables, if they are known.

    Raises:
        RecordError: The folder is damaged, or has no round after ``after``.
    """
    committed, record = folder.manifest(), record or folder.record()
    if committed.rounds <= after:
        raise RecordError(f"{folder.path} has no round after round {after}")
    tables = {"rounds": record.rounds, "transfers": record.transfers}
    return RunPart(
        after=after,
        rounds=committed.rounds,
        timing=committed.timing,
        network=committed.network,
        version=committed.checkpoint_version,
        tables={kind: _file_of(_rows_after(table, after)) for kind, table in tables.items()},
        checkpoint=save(pack(folder.snapshot()), identity(folder.description)),
        models={n: folder.model(n) for n in committed.models if n > after} if models else {},
    )


def commit_part(
    folder: RunFolder, part: RunPart, record: RunRecord | None = None, *, models: bool = True
) -> RunRecord | None:
    """Commit a part that continues a folder's run; return the tables of the whole run.

    A part that does not begin where the committed rounds end came twice or late: nothing is
    written, and the result is None.

    Args:
        folder: Run folder; the caller holds its lock.
        part: The part.
        record: The committed tables, if they are known.
        models: Whether the part must have the model of each of its evaluated rounds.

    Raises:
        RecordError: The part contradicts itself or the folder, or a file cannot be written.
    """
    committed = folder.manifest()
    if committed.rounds != part.after:
        return None
    if committed.rounds and committed.timing != part.timing:
        raise RecordError(f"the rounds after round {part.after} are of another timing")
    try:
        tables = {kind: read_table(io.BytesIO(part.tables[kind]), kind, kind) for kind in SCHEMAS}
        whole = _whole(folder, part, tables, record or folder.record())
        _check_models(part, tables["rounds"], models)
        snapshot = unpack(part.version, load(part.checkpoint))
        if identity_in(part.checkpoint) != identity(folder.description):
            raise ValueError("the checkpoint is that of another run")
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise RecordError(f"the rounds after round {part.after} are damaged: {error}") from None
    folder.commit(
        tables["rounds"].to_pylist(),
        tables["transfers"],
        timing=part.timing,
        network=part.network,
        snapshot=snapshot,
        models=part.models,
    )
    return whole


def _whole(
    folder: RunFolder, part: RunPart, tables: Mapping[str, pa.Table], before: RunRecord
) -> RunRecord:
    """Return the run with a part; raise ValueError if it would not be consistent."""
    rounds = join_tables([before.rounds, tables["rounds"]])
    transfers = pa.concat_tables([before.transfers, tables["transfers"]])
    check_tables(rounds, transfers, part.rounds, part.version)
    check_rows(rounds, transfers, folder.fleet_size)
    return RunRecord(folder.description, rounds, transfers)


def _check_models(part: RunPart, rounds: pa.Table, whole: bool) -> None:
    evaluated = set(rounds.filter(pc.is_valid(rounds["accuracy"]))["round"].to_pylist())
    if set(part.models) - evaluated:
        raise ValueError("models of rounds that were not evaluated")
    if whole and (missing := sorted(evaluated - set(part.models))):
        raise ValueError(f"the model of round {missing[0]} is missing")


def _rows_after(table: pa.Table, after: int) -> pa.Table:
    return table.filter(pc.greater(table["round"], after)) if after else table


def _file_of(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content
