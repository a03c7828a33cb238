"""Recorded runs, found on disk and read for comparing."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from floss_sim.errors import RecordError
from floss_sim.records import RunFolder, fingerprint

_REQUIRED = {"task", "data", "seed"}  # of a trajectory


@dataclass(frozen=True)
class RecordedRun:
    """One run as it was read.

    Attributes:
        folder: Where it lies.
        seed: Its seed.
        settings: Its trajectory without the seed, the name of its ``network``, and ``timing``:
            the fingerprint of network and round policy. What they are equal in is one
            configuration.
        curve: The rows of its evaluated rounds (``RunRecord.evaluated()``), by round.
        transfers: Its transfers (schema TRANSFERS).
    """

    folder: RunFolder
    seed: int
    settings: Mapping[str, Any]
    curve: Mapping[int, Mapping[str, Any]]
    transfers: pa.Table

    @property
    def path(self) -> Path:
        """The run folder's path."""
        return self.folder.path

    @property
    def method(self) -> str:
        """The method's name."""
        return str(self.folder.description.get("method"))

    @property
    def last(self) -> int:
        """The last evaluated round."""
        return max(self.curve)

    @cached_property
    def configuration(self) -> str:
        """The fingerprint of the settings."""
        return fingerprint(self.settings)

    def payload_bytes(self, direction: str, rounds: int) -> float | None:
        """Return the mean bytes of a payload in the first rounds; None where there is none."""
        early = pc.less_equal(self.transfers["round"], rounds)
        chosen = pc.and_(early, pc.equal(self.transfers["direction"], direction))
        mean: float | None = pc.mean(self.transfers["nbytes"].filter(chosen)).as_py()
        return mean

    def test_accuracy(self, round_: int) -> float | None:
        """Return the test accuracy after a round if it has been measured."""
        metrics = self.folder.test_metrics(round_)
        return None if metrics is None else metrics.get("accuracy")


def find_runs(arguments: Iterable[str]) -> list[Path]:
    """Return the run folders that some paths or glob patterns name, each once.

    Args:
        arguments: Run folders, folders that hold run folders at any depth, or patterns of these.

    Raises:
        RecordError: A path or pattern names no run folder.
    """
    found = (path for argument in arguments for path in _expand(argument))
    return list({path.resolve(): path for path in found}.values())


def _expand(argument: str) -> list[Path]:
    path = Path(argument)
    if path.exists():  # a folder may have brackets in its name
        runs, problem = _at_or_below(path), f"{argument} is no run folder and holds none"
    else:
        matches = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 (absolute patterns)
        runs = [run for match in matches for run in _at_or_below(Path(match))]
        problem = f"no run folder at {argument}"
    if not runs:
        raise RecordError(problem)
    return runs


def _at_or_below(path: Path) -> list[Path]:
    if (path / "run.json").exists():
        return [path]
    return sorted(file.parent for file in path.rglob("run.json"))


def read_run(path: Path) -> RecordedRun:
    """Return the run in a run folder.

    Raises:
        RecordError: No run there, or a part of it is missing or damaged.
    """
    folder = RunFolder.read(path)
    trajectory = folder.description.get("trajectory")
    if not isinstance(trajectory, dict) or not trajectory.keys() >= _REQUIRED:
        raise RecordError(f"{path / 'run.json'} does not say what was run; remove the run folder")
    record = folder.record()
    settings = {key: value for key, value in trajectory.items() if key != "seed"}
    committed = folder.committed()
    settings |= {"network": committed.network, "timing": committed.timing}
    curve = {row["round"]: row for row in record.evaluated().to_pylist()}
    return RecordedRun(folder, trajectory["seed"], settings, curve, record.transfers)
