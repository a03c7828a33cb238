"""Recorded runs: search for run folders on disk, and reading of their records."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pyarrow.compute as pc

from floss_sim.analysis.last_part import last_part
from floss_sim.analysis.on_test import HitsOnTest
from floss_sim.analysis.recorded_networks import find_recorded_network
from floss_sim.analysis.run_times import fleet_times, recorded_times, slow_fleets
from floss_sim.analysis.slow_fleets import SlowFleets
from floss_sim.analysis.stragglers import Straggler, straggler_of
from floss_sim.analysis.time_spread import FleetTimes
from floss_sim.errors import RecordError
from floss_sim.families import NEXT_TOKEN
from floss_sim.fingerprints import fingerprint
from floss_sim.network import NetworkProfile
from floss_sim.records import RunFolder, RunRecord
from floss_sim.records.file_names import is_data

_REQUIRED = {"task", "data", "seed"}  # keys that every trajectory has


@dataclass(frozen=True)
class RecordedRun:
    """One recorded run, read from its folder.

    Attributes:
        folder: The run folder.
        seed: The seed of the run.
        settings: The run's trajectory without the seed, the name of its ``network``, and
            ``timing``, the fingerprint of network and round policy. Runs with equal settings are
            one configuration.
        record: The committed tables of the run.
        profile: The network on which the record's seconds were simulated; None if it is unknown.
    """

    folder: RunFolder
    seed: int
    settings: Mapping[str, Any]
    record: RunRecord
    profile: NetworkProfile | None = field(default=None, repr=False, compare=False)

    @property
    def path(self) -> Path:
        """The run folder's path."""
        return self.folder.path

    @property
    def method(self) -> str:
        """The method's name."""
        return str(self.folder.description.get("method"))

    @property
    def rounds(self) -> int:
        """The number of committed rounds."""
        count: int = self.record.rounds.num_rows
        return count

    @cached_property
    def curve(self) -> Mapping[int, Mapping[str, Any]]:
        """The rows of the evaluated rounds (``RunRecord.evaluated()``) by round number."""
        return {row["round"]: row for row in self.record.evaluated().to_pylist()}

    @property
    def waits_for_all(self) -> bool:
        """Whether time did not shape training, so that the run has a time on any fleet."""
        return "conditions" not in self.settings

    @cached_property
    def fleet_times(self) -> FleetTimes:
        """The instants at which rounds close, over fleets that the network may draw.

        They are those of the record where the network is unknown or time shaped training.
        """
        if self.profile is None or not self.waits_for_all:
            return recorded_times(self.record)
        return fleet_times(self.record, self.profile)

    @cached_property
    def straggler(self) -> Straggler | None:
        """The client of the recorded fleet that decides how long the run takes, or None."""
        return straggler_of(self.record)

    @cached_property
    def slow_fleets(self) -> SlowFleets | None:
        """The fleets on which a single client takes more than half of the run's time, or None."""
        if self.profile is None or not self.waits_for_all:
            return None
        return slow_fleets(self.record, self.profile)

    @property
    def last_round(self) -> int:
        """The number of the last evaluated round."""
        return max(self.curve)

    @cached_property
    def settings_fingerprint(self) -> str:
        """The fingerprint of the settings."""
        return fingerprint(self.settings)

    def payload_bytes(self, direction: str, rounds: int) -> float | None:
        """Return the mean framed bytes of a transfer, or None if there was no transfer.

        Args:
            direction: ``"down"`` or ``"up"``.
            rounds: The last round that is counted; the first one is 1.
        """
        transfers = self.record.transfers
        early = pc.less_equal(transfers["round"], rounds)
        chosen = pc.and_(early, pc.equal(transfers["direction"], direction))
        mean: float | None = pc.mean(transfers["nbytes"].filter(chosen)).as_py()
        return mean

    def test_accuracy(self, round_: int) -> float | None:
        """Return the test accuracy of a run of some rounds, or None if it was not measured.

        It is the mean over the models of the last part of these rounds. Where only the last of them
        was measured, by an earlier version, it is that of this model (:meth:`tested_models`).
        """
        found = self._tested(round_)
        return fmean(found.values()) if round_ in found else None

    def own_test_accuracy(self, round_: int) -> float | None:
        """Return the test accuracy of the clients' own models of a round, or None."""
        return (self.folder.test_metrics(round_) or {}).get("own_accuracy")

    @property
    def partition(self) -> str:
        """The law by which the data is partitioned over the clients."""
        return str(self.settings["fleet"]["law"])

    def tested_models(self, round_: int) -> tuple[int, int]:
        """Return how many models of the last part of a run are tested, and how many there are."""
        return len(self._tested(round_)), len(last_part(sorted(self.curve), round_))

    def hits_on_test(self, round_: int) -> HitsOnTest | None:
        """Return what the models of the last part of a run get right on the test split.

        None where a model was not measured, or by an earlier version without its predictions. None
        for next tokens, too: the record does not say which of them are of one text.
        """
        part = last_part(sorted(self.curve), round_)
        models = list(self.folder.models_on_test(part).values())
        if len(models) < len(part) or self.settings.get("kind") == NEXT_TOKEN:
            return None
        return HitsOnTest.of(models, np.ones(len(models[0].right), np.int64))

    def _tested(self, round_: int) -> dict[int, float]:
        """Return the known test accuracies of the last part by round; all, or that of the end."""
        part = last_part(sorted(self.curve), round_)
        metrics = {number: self.folder.test_metrics(number) for number in part}
        known = {number: found["accuracy"] for number, found in metrics.items() if found}
        return known if len(known) == len(part) else {r: a for r, a in known.items() if r == round_}


def find_runs(arguments: Iterable[str]) -> list[Path]:
    """Return the run folders of some paths and glob patterns, without duplicates.

    Args:
        arguments: Run folders, folders that contain run folders at any depth, or glob patterns
            of both.

    Raises:
        RecordError: No run folder is found for a path or pattern.
    """
    found = (path for argument in arguments for path in _expand(argument))
    return list({path.resolve(): path for path in found}.values())


def _expand(argument: str) -> list[Path]:
    path = Path(argument)
    if path.exists():  # checked first, because the name of a folder may contain brackets
        runs, problem = _run_folders(path), f"{argument} is not a run folder and contains none"
    else:
        matches = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 (absolute patterns)
        runs = [run for match in matches for run in _run_folders(Path(match))]
        problem = f"no run folder at {argument}"
    if not runs:
        raise RecordError(problem)
    return runs


def _run_folders(path: Path) -> list[Path]:
    if (path / "run.json").exists():
        return [path]
    found = {file.parent for file in path.rglob("run.json")}
    # a run that has lost its run.json is not left out: reading it says what is wrong
    found |= {file.parent for file in path.rglob("manifest.json") if _has_tables(file.parent)}
    return sorted(found)


def _has_tables(path: Path) -> bool:
    return any(is_data(file.name) for file in path.glob("rounds-*.parquet"))


def read_run(path: Path, networks: Iterable[NetworkProfile] = ()) -> RecordedRun:
    """Return the run in a run folder.

    Args:
        path: The run folder.
        networks: Networks on which the run may have been recorded, if it does not keep its own.

    Raises:
        RecordError: The folder holds no run, or a part of the run is missing or damaged.
    """
    folder = RunFolder.read(path)
    trajectory = folder.description.get("trajectory")
    if not isinstance(trajectory, dict) or not trajectory.keys() >= _REQUIRED:
        raise RecordError(f"{path / 'run.json'} does not say what was run; remove the run folder")
    settings = {key: value for key, value in trajectory.items() if key != "seed"}
    committed = folder.manifest()
    settings |= {"network": committed.network, "timing": committed.timing}
    profile = find_recorded_network(folder, networks) if committed.network else None
    return RecordedRun(folder, trajectory["seed"], settings, folder.record(), profile)
