"""A recorded run on another network: the same rounds at other seconds, without training.

Where rounds wait for all their clients and none is lost, time does not change what is learned:
payloads and accuracies stand in the record, and only the network is simulated again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from floss_sim.errors import ConfigError, RecordError
from floss_sim.network import NetworkProfile
from floss_sim.records import ROUNDS, RunRecord
from floss_sim.records.transfer_table import TransferTable
from floss_sim.runs.replay_learner import ReplayLearner
from floss_sim.simulator import simulate, wait_all


def retime(record: RunRecord, profile: NetworkProfile) -> RunRecord:
    """Return the same rounds on another network; on the recorded one, the very same record.

    Args:
        record: A run's committed tables with its description; it may have been interrupted.
        profile: The network.

    Raises:
        ConfigError: Time shaped what was learned, or would on the new network.
        RecordError: The description does not say how large the fleet is.
    """
    check_replayable(record.description, profile.name)
    if profile.shapes_training:
        raise ConfigError(
            f"on {profile.name} clients come and go, which changes what is learned; train there, "
            "with the run's other options: "
            f"{_command(record.description, profile.name)}"
        )
    profile = _with_first_download(record, profile)
    cohorts = _cohorts(record.transfers)
    size = len(cohorts.get(1, ()))
    links = profile.links(_fleet_size(record.description))
    rounds = record.rounds.to_pylist()
    transfers = TransferTable()
    learner = ReplayLearner(record)
    for row, outcome in zip(
        rounds,
        simulate(learner, profile, links, wait_all(), lambda r, _: cohorts[r], size, len(rounds)),
        strict=True,
    ):
        row.update(
            opened_at_s=outcome.opened_at_s,
            closed_at_s=outcome.closed_at_s,
            down_bytes=outcome.nbytes("down"),
            wire_bytes=outcome.wire_bytes(),
        )
        transfers.extend(outcome.transfers)
    return replace(
        record,
        rounds=pa.Table.from_pylist(rounds, ROUNDS),
        transfers=transfers.table(),
    )


def check_replayable(description: Mapping[str, Any], network: str) -> None:
    """Raise ConfigError if time shaped what a run learned; name the command that trains again.

    Args:
        description: The run's, as in ``run.json``.
        network: Where it was to be re-timed.
    """
    if "conditions" in description.get("trajectory", {}):
        raise ConfigError(
            "simulated time shaped what this run learned (its policy or lost clients), so "
            "other seconds would have made another model; train again, with the run's other "
            "options: "
            f"{_command(description, network)}"
        )


def _command(description: Mapping[str, Any], network: str) -> str:
    trajectory = description["trajectory"]
    options = {"task": trajectory.get("task"), "method": description.get("method")}
    options |= {key: trajectory.get(key) for key in ("rank", "seed")}
    said = (f"--{key} {value}" for key, value in options.items() if value is not None)
    name, changed, _ = network.partition(", ")  # as replay names a network that it has changed
    by_hand = " (its profile changed by hand)" if changed else ""
    return f"floss-sim run {' '.join(said)} --network {name}{by_hand}"


def _fleet_size(description: Mapping[str, Any]) -> int:
    try:
        return int(description["trajectory"]["fleet"]["clients"])
    except (KeyError, TypeError, ValueError):
        raise RecordError("the record does not say how many clients its fleet has") from None


def _with_first_download(record: RunRecord, profile: NetworkProfile) -> NetworkProfile:
    """Return a profile on which clients first download what they did, unless it says otherwise."""
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
