"""Mutated manifests of one small run folder, and what a reader makes of each.

Half of them are sealed again, so that only the manifest's own rules can refuse them. A reader
refuses a manifest in one line, or reads the data that was committed. In neither case does it touch
a file that is not the run's.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from made_commits import ONE, describe, round_row, transfer_row

from floss_sim.errors import RecordError
from floss_sim.protocol import Snapshot
from floss_sim.records import RunFolder
from floss_sim.records.file_names import MANIFEST
from floss_sim.records.sealed_json import read_sealed, sealed_text

_NAMES = ("../own/best.floss", "/etc/hostname", "my-results.parquet", "run.json", "", "a/b", "..",
          "rounds-000002-01234567.parquet", "rounds-000002-fedcba98.parquet", "model-000002.floss",
          "checkpoint-000001-01234567.safetensors", "fedcba9876543210", "lte")  # fmt: skip


def make_folder(home: Path) -> Path:
    """Make a run of two commits in a folder, with a user's files in it and beside it."""
    path = home / "run"
    folder = RunFolder.open(
        path, describe(task="made")
    )  # no rank: bytes of equal checkpoints are equal
    for number in (1, 2):
        folder.commit(
            [round_row(number, number / 4)],
            [transfer_row(number - 1)],
            timing=ONE,
            network="lte",
            snapshot=Snapshot(number, {"P": np.full(3, number, np.float32)}),
            models={number: bytes([number]) * 5},
        )
    (home / "own").mkdir()
    for own in (home / "own" / "best.floss", path / "best.floss", path / "my-results.parquet"):
        own.write_bytes(b"a user's")
    return path


def edit_manifest(blob: bytes, draw: random.Random, damage: Callable[[bytes], bytes]) -> bytes:
    """Return a manifest with one to three other values, or one with damaged bytes."""
    if draw.random() < 0.5:
        return damage(blob)
    content = json.loads(blob)
    del content["sha256"]
    for _ in range(draw.choice((1, 1, 2, 3))):
        _edit_value(content, draw)
    return sealed_text(content).encode()


def _edit_value(content: dict[str, Any], draw: random.Random) -> None:
    place: Any = content
    while True:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        if not keys:
            return
        key = draw.choice(keys)
        if not (isinstance(place[key], dict | list) and place[key]) or draw.random() < 0.15:
            break
        place = place[key]
    old = place[key]
    match draw.randrange(5):
        case 0:
            del place[key]
        case 1 if isinstance(place, dict):
            place[draw.choice((*_NAMES, "3", "02", "-1"))] = old
        case 2 if isinstance(old, int):
            place[key] = draw.choice((old + 1, old - 1, -old, 10**30, 0, str(old), float(old)))
        case 3:
            place[key] = draw.choice((None, True, [], {}, [[]], 0, 1e308, 2, 3, [old, old]))
        case _:
            place[key] = draw.choice(_NAMES)


def manifest_outcome(blob: bytes, path: Path) -> tuple[str, str]:
    """Return (refused, right, wrong or crashed) and a message, for the manifest of a folder."""
    (path / MANIFEST).write_bytes(blob)
    before = _files(path.parent)
    try:
        problem = _read(path)
    except RecordError as error:
        said = str(error)
        is_line = "\n" not in said and len(said) < 1500
        came = ("refused", said) if is_line else ("wrong", f"no short line: {said[:200]!r}")
    except Exception as error:
        came = "crashed", f"{type(error).__name__}: {error}"[:300]
    else:
        came = ("wrong", problem) if problem else ("right", "")
    after = _files(path.parent)
    if after != before:
        return "wrong", f"changed {sorted(dict(before.items() ^ after.items()))}"
    return came


def _read(path: Path) -> str:
    """Read a folder as a writer that would go on; return what differs from what was committed."""
    folder = RunFolder.read(path)
    with folder.lock():
        record, snapshot, committed = folder.record(), folder.snapshot(), folder.check(anew=True)
        models = {number: folder.model(number) for number in committed.models}
    if record.rounds["accuracy"].to_pylist() != [0.25, 0.5] or record.transfers.num_rows != 2:
        return "other rows"
    if snapshot.tensors["P"].tolist() != [2, 2, 2]:
        return "another checkpoint"
    whole = all(blob == bytes([number]) * 5 for number, blob in models.items())
    return "" if whole else "another model"


def _files(home: Path) -> dict[str, bytes]:
    files = (p for p in home.rglob("*") if p.is_file() and p.name != "run.lock")
    return {str(p.relative_to(home)): p.read_bytes() for p in files}


def committed_manifest(path: Path) -> bytes:
    """Return the manifest of a folder, which must be sealed."""
    if not read_sealed(path / MANIFEST, "")[1]:
        raise ValueError("the manifest has no seal")
    return (path / MANIFEST).read_bytes()
