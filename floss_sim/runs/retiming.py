"""Re-timing: simulates a recorded run on another network, without training.

If rounds wait for all their clients and no client is lost, simulated time does not affect
training. Payload sizes and accuracies are then taken from the record, and only the network is
simulated again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from floss_sim.errors import ConfigError, RecordError
from floss_sim.network import NetworkProfile
from floss_sim.network.devices.local_work import LocalWork
from floss_sim.network.link import known_work
from floss_sim.records import RunRecord, rounds_table
from floss_sim.records.measured_clock import measured_by, without_clock
from floss_sim.records.transfer_table import TransferTable
from floss_sim.runs.replay_learner import ReplayLearner
from floss_sim.simulator import outcomes, simulate, wait_all


def retime(record: RunRecord, profile: NetworkProfile, work: LocalWork | None = None) -> RunRecord:
    """Return the record of the same rounds on another network.

    On the recorded network the result equals the given record.

    Args:
        record: Record of a run; the run may have been interrupted.
        profile: Network profile.
        work: Operations of local training, for a record that does not state them.

    Raises:
        ConfigError: Simulated time affected the run's training, or would on the new network.
        ProfileError: The network's clients have devices, and the operations are unknown.
        RecordError: The description has no fleet size.

    Example:
        >>> from floss_sim import RunConfig, dense, load_profile, load_task
        >>> from floss_sim import open_learner, retime, run
        >>> config = RunConfig.of(load_task("digits"), dense(), rank=1)
        >>> fast = run(config, load_profile("wifi"), open_learner(config, "cpu"), rounds=1)
        >>> slow = retime(fast, load_profile("3g"))
        >>> slow.rounds["closed_at_s"][0].as_py() > fast.rounds["closed_at_s"][0].as_py()
        True
    """
    check_retimable(record.description, profile)
    check_whole(record)
    profile = with_first_download(record, profile)
    work = work_of(record.description) or work
    if profile.has_devices:
        known_work(work)
    cohorts = _cohorts(record.transfers)
    size = len(cohorts.get(1, ()))
    links = profile.links(fleet_size(record.description))
    rounds = record.rounds.to_pylist()
    transfers = TransferTable()
    learner = ReplayLearner(record)
    steps = simulate(
        learner, profile, links, wait_all(), lambda r, _: cohorts[r], size, len(rounds), work=work
    )
    for row, outcome in zip(rounds, outcomes(steps), strict=True):
        row.update(
            opened_at_s=outcome.opened_at_s,
            closed_at_s=outcome.closed_at_s,
            down_bytes=outcome.nbytes("down"),
            wire_bytes=outcome.wire_bytes(),
        )
        transfers.extend(outcome.transfers)
    stated = {"work": work.to_json()} if work else {}
    return replace(
        record,
        description={**without_clock(record.description), **stated},
        rounds=rounds_table(rounds),
        transfers=transfers.table(),
    )


def check_retimable(description: Mapping[str, Any], profile: NetworkProfile) -> None:
    """Raise ConfigError if simulated time affected a run's training, or would on a network.

    Args:
        description: Description of the run, the content of ``run.json``.
        profile: The network on which the run is to be re-timed.
    """
    check_replayable(description, profile.name)
    if profile.shapes_training:
        raise ConfigError(
            f"on {profile.name} clients can be lost or offline, which changes training; train "
            f"there, with the run's other options: {_command(description, profile.name)}"
        )


def check_whole(record: RunRecord) -> None:
    """Raise ConfigError if updates of a measured run were lost, so that its rounds lack uploads."""
    fates = record.transfers["fate"]
    if measured_by(record.description) and not pc.all(pc.equal(fates, "aggregated")).as_py():
        raise ConfigError(
            "in this measured run some replies were missing or refused, so that the record lacks "
            "the bytes of their uploads; a run without lost replies can be re-timed"
        )


def check_replayable(description: Mapping[str, Any], network: str) -> None:
    """Raise ConfigError if simulated time affected a run's training.

    The message gives the command that trains the run on the network.

    Args:
        description: Description of the run, the content of ``run.json``.
        network: Name of the network on which the run is to be re-timed.
    """
    if "conditions" in description.get("trajectory", {}):
        raise ConfigError(
            "simulated time affected the training of this run (its policy or lost clients), so "
            "other seconds would give another model; train again, with the run's other options: "
            f"{_command(description, network)}"
        )


def _command(description: Mapping[str, Any], network: str) -> str:
    trajectory = description["trajectory"]
    options = {"task": trajectory.get("task"), "method": description.get("method")}
    options |= {key: trajectory.get(key) for key in ("rank", "seed")}
    said = (f"--{key} {value}" for key, value in options.items() if value is not None)
    name, changed, _ = network.partition(", ")  # replay appends its changes: "lte, up 5 Mbit/s"
    by_hand = " (with these changes in its profile)" if changed else ""
    return f"floss-sim run {' '.join(said)} --network {name}{by_hand}"


def work_of(description: Mapping[str, Any]) -> LocalWork | None:
    """Return the operations of local training that a run's description states, or None.

    Raises:
        RecordError: What it states are no operations.
    """
    stated = description.get("work")
    try:
        return None if stated is None else LocalWork.from_json(stated)
    except (KeyError, TypeError, ValueError):
        raise RecordError("the operations in the record's description (work) are damaged") from None


def fleet_size(description: Mapping[str, Any]) -> int:
    """Return the number of clients in the fleet of a run.

    Raises:
        RecordError: The description has no fleet size.
    """
    try:
        return int(description["trajectory"]["fleet"]["clients"])
    except (KeyError, TypeError, ValueError):
        raise RecordError(
            "the record's description has no fleet size (trajectory.fleet.clients)"
        ) from None


def with_first_download(record: RunRecord, profile: NetworkProfile) -> NetworkProfile:
    """Return the profile with the record's first download, unless the profile sets its own."""
    firsts = record.transfers.filter(pc.equal(record.transfers["direction"], "first"))
    if profile.first_download or not firsts.num_rows:
        return profile
    nbytes = pc.max(firsts["nbytes"]).as_py()
    return profile.model_copy(update={"first_download": nbytes})


def _cohorts(transfers: pa.Table) -> dict[int, list[int]]:
    """Return each round's clients in the order of their dispatches."""
    downloads = transfers.filter(pc.equal(transfers["direction"], "down")).sort_by("sequence")
    clients: dict[int, list[int]] = {}
    pairs = zip(downloads["round"].to_pylist(), downloads["client"].to_pylist(), strict=True)
    for number, client in pairs:
        clients.setdefault(number, []).append(client)
    return clients
