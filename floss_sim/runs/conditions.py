"""Effect of network and policy on a run: feasibility, conditions, timing fingerprint."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from floss_sim.errors import ConfigError
from floss_sim.fingerprints import fingerprint
from floss_sim.network import ClientLink, NetworkProfile
from floss_sim.runs.config import RunConfig
from floss_sim.runs.size_only_learner import SizeOnlyLearner
from floss_sim.simulator import RoundPolicy
from floss_sim.units import format_duration

_TIMING_SCHEMA = 2  # raised whenever a change of code changes simulated times


def check_conditions(config: RunConfig, profile: NetworkProfile, policy: RoundPolicy) -> None:
    """Check before training that the policy can close a round.

    Raises:
        ConfigError: The policy requires more reports than the cohort has clients; or, with
            predicted sizes and no other traffic, no client can meet the deadline; or its weights do
            not fit differential privacy.
        ProfileError: The profile's table has fewer clients than the fleet.
    """
    policy.checked(config.server.cohort)
    privacy = config.method.privacy
    turned = config.method.product_step is not None
    exposed = ("sum", "server") if turned else ("sum",)
    if privacy and privacy.trust in exposed and policy.late == "kept":
        raise ConfigError(
            f"policy {policy.name}: stale updates are weighted or turned one by one, which the "
            "noise of their plain sum does not cover; valid with it: --dp-trust "
            f"{'local' if turned else 'server or local'}"
        )
    links = profile.links(config.fleet.clients)
    if math.isinf(policy.deadline_s):
        return
    learner = SizeOnlyLearner(config.sizes, config.client_examples())
    work = config.work

    def seconds(link: ClientLink, way: str, nbytes: int) -> float:
        limit = profile.alone_bits_per_s(way)
        return link.transfer_s(way, nbytes, profile.transport, limit_bits_per_s=limit)

    def alone_s(client: int) -> float:
        dispatch = learner.dispatch(client, 0)
        upload, link = learner.train(dispatch, {}), links[client]
        first_s = seconds(link, "down", profile.first_download) if profile.first_download else 0.0
        down_s, up_s = seconds(link, "down", dispatch.nbytes), seconds(link, "up", upload.nbytes)
        return first_s + down_s + link.compute_s(upload.examples, work) + up_s

    fastest_s = min(alone_s(client) for client in range(config.fleet.clients))
    if fastest_s > policy.deadline_s:
        raise ConfigError(
            f"policy deadline: no client can meet {format_duration(policy.deadline_s)}; "
            "by predicted sizes the fastest client takes "
            f"{format_duration(fastest_s)} on {profile.name}"
        )


def timing_of(profile: NetworkProfile, policy_settings: Mapping[str, Any]) -> str:
    """Return the timing fingerprint: network, policy and the version of the timing rules."""
    laws = {"timing_schema": _TIMING_SCHEMA}
    return fingerprint({**profile.settings(), **policy_settings, **laws})


def conditions(profile: NetworkProfile, policy: RoundPolicy) -> dict[str, Any]:
    """Return the network and policy settings that are part of a run's trajectory.

    Empty if rounds wait for all clients and no client is ever lost: the network then affects only
    the simulated seconds, not training.
    """
    if not (policy.shapes_training or profile.shapes_training):
        return {}
    return {"conditions": {**profile.settings(), **policy.settings()}}
