"""Estimates of federated runs: bytes, seconds, memory, energy and money before any training.

Nothing is trained and no data is read. Message sizes are predicted, and seconds are those of the
network model, with clients that are always there and never drop out. Money and energy are those of
the profile, as in :mod:`floss_sim.analysis.costs`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from floss_sim.analysis.client_memory import ClientMemory, client_memory
from floss_sim.analysis.compute_bound import compute_bound_text
from floss_sim.analysis.compute_times import compute_seconds
from floss_sim.analysis.deployment import Deployment
from floss_sim.analysis.drawn_fleets import Fleets
from floss_sim.analysis.message_estimate import MessageEstimate, mean_message
from floss_sim.analysis.round_parts import round_shares
from floss_sim.analysis.run_privacy import RunPrivacy
from floss_sim.analysis.slow_fleets import SlowFleets, find_slow_fleets
from floss_sim.analysis.time_spread import TimeSpread
from floss_sim.analysis.traffic import Traffic
from floss_sim.analysis.traffic_costs import TrafficCosts
from floss_sim.families.experts import entries_without_adapter
from floss_sim.families.model_table import ModelTable
from floss_sim.families.trained_tensors import TrainedModel
from floss_sim.methods import WAYS, SizePredictor
from floss_sim.methods.size_statistics import size_statistics
from floss_sim.network.devices.local_work import LocalWork
from floss_sim.vectors.adapter_layout import adapter_layout

NUMPY_TENSOR_BYTES = 128  # header of a .npy array, as Flower serialises each tensor


@dataclass(frozen=True)
class Estimate:
    """What a deployment is predicted to take.

    Attributes:
        deployment: The deployment.
        trained: The tensors that train.
        traffic: The predicted messages.
        errors: Relative error of predicted bytes by direction, as on recorded runs.

    Example:
        >>> from floss_sim import AdapterSettings, Deployment, backbone_model, dense, estimate
        >>> from floss_sim import load_profile
        >>> network, adapters = load_profile("paper-200-20"), AdapterSettings(targets=("qkv",))
        >>> made = estimate(Deployment(backbone_model("gpt2"), adapters, dense(), network))
        >>> made.binding
        'upload'
    """

    deployment: Deployment
    trained: TrainedModel
    traffic: Traffic
    errors: Mapping[str, float]

    @property
    def is_beyond_recorded(self) -> bool:
        """Whether more entries train than in any of the runs that ``errors`` were measured on."""
        return self.trained.entries > size_statistics().largest_entries

    @cached_property
    def table(self) -> ModelTable:
        """The parameters of the model."""
        return self.deployment.model.full_table()

    @property
    def expert_entries_without_adapter(self) -> int:
        """Entries of the experts of a mixture if none of them trains, else 0."""
        return entries_without_adapter(self.table, self.trained)

    @property
    def dense_numpy_bytes(self) -> int:
        """Bytes of all trained tensors as dense float32 NumPy arrays, as Flower sends them."""
        return 4 * self.trained.entries + NUMPY_TENSOR_BYTES * len(self.trained.tensors)

    @property
    def dense_numpy_run_bytes(self) -> int:
        """Bytes of all messages of the run, as dense NumPy arrays."""
        return 2 * self.dense_numpy_bytes * self.traffic.clients.size

    def with_numpy_messages(self) -> Estimate:
        """Return the estimate of the same run whose messages are dense NumPy arrays."""
        nbytes = self.dense_numpy_bytes
        return replace(self, traffic=self.traffic.with_sizes(nbytes, nbytes))

    def message(self, way: str) -> MessageEstimate:
        """Return the mean sizes of a message in a direction, ``"down"`` or ``"up"``."""
        nbytes_RC = self.traffic.down if way == "down" else self.traffic.up
        return mean_message(nbytes_RC, self.deployment.profile.transport, way)

    @cached_property
    def run_bytes(self) -> float:
        """Framed bytes of all clients in both directions, first downloads included.

        These are the payloads in our frame, which a run's record and a plan count.
        """
        return float(self.traffic.nbytes()[-1])

    @cached_property
    def time(self) -> TimeSpread:
        """Simulated time of the run over the fleets that the profile may draw."""
        return self._fleets.spread(self.traffic)

    @cached_property
    def privacy(self) -> RunPrivacy | None:
        """What the run's noise reaches; None without differential privacy."""
        return self.deployment.privacy

    @cached_property
    def slow_fleets(self) -> SlowFleets | None:
        """The fleets on which a single client takes more than half of the time, or None."""
        return find_slow_fleets(self._fleets, self.traffic)

    @cached_property
    def _fleets(self) -> Fleets:
        return Fleets.of(self.deployment.profile, self.deployment.clients)

    @cached_property
    def shares(self) -> dict[str, float]:
        """Shares of the round time of the slowest client, of the profile's own fleet."""
        return round_shares(self._fleets.clocks[0], self.traffic)

    @property
    def binding(self) -> str:
        """The activity with the largest share of the round time."""
        return max(self.shares, key=lambda name: self.shares[name])

    @property
    def work(self) -> LocalWork:
        """Operations of a client's local training."""
        return self.traffic.work or self.deployment.work(self.trained)

    @property
    def steps(self) -> int:
        """Local steps of a client in a round."""
        return self.work.steps(self.deployment.trained_examples)

    @property
    def client_compute_s(self) -> float:
        """Mean seconds of local training of a client in a round, on the profile's own fleet."""
        clock = self._fleets.clocks[0]
        links, place_RC = clock.links_by_place(self.traffic)
        return float(compute_seconds(self.traffic, links, place_RC).mean())

    @property
    def compute_bound(self) -> str:
        """A sentence if compute takes ten times as long as traffic; else empty."""
        round_s = self.time.per_round(self.deployment.rounds).median_s
        return compute_bound_text(self.shares, round_s)

    @property
    def precision_text(self) -> str:
        """Precision and checkpointing of a client, in words."""
        given = self.deployment
        return f"{given.precision}{' with checkpointing' if given.checkpointing else ''}"

    @cached_property
    def memory(self) -> ClientMemory:
        """Memory of a client in training."""
        given = self.deployment
        return client_memory(
            self.table,
            given.model.config,
            self.trained,
            min(given.batch, given.examples),
            given.tokens,
            given.precision,
            checkpointing=given.checkpointing,
        )

    @cached_property
    def energy_j(self) -> float | None:
        """Joules of all clients in the run; None if the profile states no energy."""
        spent_R = self._costs.energy_j(self.traffic)
        return None if spent_R is None else float(spent_R[-1])

    @cached_property
    def money(self) -> float | None:
        """Money of the run in the profile's currency; None if the profile states no prices.

        None, too, if it prices an energy that it does not state.
        """
        spent_R = self._costs.money(self.traffic)
        return None if spent_R is None else float(spent_R[-1])

    @cached_property
    def _costs(self) -> TrafficCosts:
        return TrafficCosts(self.deployment.profile, self.deployment.clients)

    @cached_property
    def link_bytes(self) -> tuple[float, float]:
        """Bytes of the run on the links, down and up, set-up of connections included."""
        setup = self.deployment.profile.transport.setup_bytes
        messages = self.traffic.clients.size
        first = float(self.traffic.first.sum())
        down, up = (messages * (self.message(way).link + setup) for way in ("down", "up"))
        return down + first, up

    def to_json(self) -> dict[str, Any]:
        """Return the estimate as plain values; bytes and seconds in their base units."""
        given, participations = self.deployment, self.traffic.clients.size
        return {
            "backbone": given.model.name,
            "model_type": self.trained.model_type,
            "kind": given.model.kind,
            "parameters": self.trained.parameters,
            "sizes_not_in_config": dict(self.table.defaults),
            "expert_entries_without_adapter": self.expert_entries_without_adapter,
            "adapters": given.adapters.to_json(),
            "method": given.method.describe(),
            **({"privacy": self.privacy.to_json()} if self.privacy else {}),
            "network": given.profile.name,
            "clients": given.clients,
            "cohort": given.cohort,
            "rounds": given.rounds,
            "trained_entries": self.trained.entries,
            "trained_tensors": len(self.trained.tensors),
            "download": {**self.message("down").to_json(), "error": self.errors["down"]},
            "upload": {**self.message("up").to_json(), "error": self.errors["up"]},
            "beyond_recorded_entries": self.is_beyond_recorded,
            "dense_numpy_bytes": self.dense_numpy_bytes,
            "bytes_per_client_round": self.run_bytes / participations,
            "bytes_per_client": self.run_bytes / given.clients,
            "bytes_per_round": self.run_bytes / given.rounds,
            "bytes_of_run": self.run_bytes,
            "link_bytes_of_run": sum(self.link_bytes),
            "dense_numpy_bytes_of_run": self.dense_numpy_run_bytes,
            "round_time": self.time.per_round(given.rounds).to_json(),
            "run_time": self.time.to_json(),
            "traffic_alone": given.profile.is_traffic_alone,
            "slow_fleets": self.slow_fleets and self.slow_fleets.to_json(),
            "assumes_presence": given.profile.shapes_training,
            "round_shares": self.shares,
            "binds": self.binding,
            "compute_bound": self.compute_bound,
            "operations_per_example": self.work.operations.of_example,
            "operations_per_step": self.work.operations.of_step(self.work.batch),
            "local_steps": self.steps,
            "compute_s": self.client_compute_s,
            "precision": given.precision,
            "checkpointing": given.checkpointing,
            "memory": self.memory.to_json(),
            "energy_j": self.energy_j,
            "money": self.money,
            "currency": given.profile.prices.currency if given.profile.prices else "",
        }


def estimate(deployment: Deployment) -> Estimate:
    """Return what a federated run is predicted to take, before anything is trained.

    Raises:
        LayoutError: The adapters do not fit the model, or the library cannot build it.
        ConfigError: The method and the fleet do not fit each other.
        ProfileError: The profile cannot serve the fleet.

    Example:
        >>> from floss_sim import AdapterSettings, Deployment, backbone_model, estimate, floss
        >>> from floss_sim import load_profile
        >>> made = estimate(
        ...     Deployment(
        ...         backbone_model("smollm2-135m"),
        ...         AdapterSettings(rank=8, targets=("q", "v"), dora=True),
        ...         floss(1 / 4, 1 / 16),
        ...         load_profile("paper-200-20"),
        ...     )
        ... )
        >>> made.trained.entries, made.dense_numpy_bytes
        (483840, 1958400)
    """
    given = deployment
    trained = given.trained_model()
    layout = adapter_layout(trained)
    given.method.check_layout(layout)
    predictor = SizePredictor(given.method, layout, given.cohort)
    traffic = Traffic.of_sizes(
        predictor, given.seed, given.rounds, given.clients, lambda client: given.trained_examples
    )
    traffic = replace(traffic.with_first(given.profile.first_download), work=given.work(trained))
    errors: dict[str, float] = {way: predictor.error(way, given.rounds) for way in WAYS}
    return Estimate(given, trained, traffic, errors)
