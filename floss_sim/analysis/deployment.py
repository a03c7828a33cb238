"""Deployments: federated runs that nobody has trained yet."""

from __future__ import annotations

from dataclasses import dataclass, replace

from floss_sim.analysis.client_memory import PRECISIONS
from floss_sim.analysis.run_privacy import RunPrivacy, check_planned, planned_privacy, with_epsilon
from floss_sim.errors import ConfigError, LayoutError
from floss_sim.families.adapter_settings import AdapterSettings
from floss_sim.families.backbone import TaskModel
from floss_sim.families.operations import count_operations
from floss_sim.families.trained_tensors import TrainedModel
from floss_sim.methods import Method
from floss_sim.methods.dora_support import check_dora
from floss_sim.network import NetworkProfile
from floss_sim.network.devices.local_work import LocalWork, forward_work
from floss_sim.vectors.adapter_layout import seed_tensor, trained_of_layout
from floss_sim.vectors.layout import ADAPTER_LAYOUTS, SEEDS

_MOST = {  # largest values of a deployment
    "clients": 10**7, "cohort": 10**5, "rounds": 10**5, "examples": 10**9, "batch": 10**6,
    "tokens": 10**7,
}  # fmt: skip
_MOST_DISPATCHES = 2_000_000  # of a run; 10 s of one core


@dataclass(frozen=True)
class Deployment:
    """A federated run that nobody has trained yet.

    Attributes:
        model: Backbone and task.
        adapters: PEFT's settings.
        method: The method; it must train adapters.
        profile: The network.
        clients: Clients of the fleet.
        cohort: Clients of a round.
        rounds: Rounds of the run.
        examples: Examples that a client trains in a round, over all local epochs.
        batch: Examples of a local batch.
        tokens: Tokens of an example: for memory, and for the operations of a step.
        precision: Precision of weights and activations on the client.
        checkpointing: Whether the client computes the activations of a layer again (gradient
            checkpointing).
        seed: Seed of the cohorts.

    Raises:
        ConfigError: The cohort is larger than the fleet, or a number or the precision is not valid.
        LayoutError: The method has no adapters, or cannot hold DoRA.

    Example:
        >>> from floss_sim import AdapterSettings, Deployment, backbone_model, dense, load_profile
        >>> network, adapters = load_profile("lte"), AdapterSettings(targets=("qkv",))
        >>> Deployment(backbone_model("gpt2"), adapters, dense(), network).cohort
        10
    """

    model: TaskModel
    adapters: AdapterSettings
    method: Method
    profile: NetworkProfile
    clients: int = 100
    cohort: int = 10
    rounds: int = 100
    examples: int = 100
    batch: int = 16
    tokens: int = 128
    precision: str = "fp32"
    checkpointing: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, most in _MOST.items():
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= most:
                raise ConfigError(f"{name} {value!r}; valid: whole numbers from 1 to {most}")
        if type(self.seed) is not int or self.seed < 0:
            raise ConfigError(f"seed {self.seed!r}; valid: whole numbers from 0")
        if self.cohort > self.clients:
            raise ConfigError(
                f"cohort of {self.cohort} clients; valid: 1 to the fleet's {self.clients}"
            )
        if self.cohort * self.rounds > _MOST_DISPATCHES:
            raise ConfigError(
                f"{self.cohort} clients in {self.rounds} rounds are more than "
                f"{_MOST_DISPATCHES:,} dispatches; give fewer rounds, and multiply"
            )
        if self.precision not in PRECISIONS:
            raise ConfigError(
                f"unknown precision {self.precision!r}; valid: {', '.join(PRECISIONS)}"
            )
        if self.method.trains not in (*ADAPTER_LAYOUTS, SEEDS):
            raise LayoutError(
                f"method {self.method.name!r} trains no adapters; an estimate needs one that does, "
                "such as floss, dense, ffa or sparse-adapter"
            )
        if self.adapters.dora:
            check_dora(self.method)
        if self.method.privacy:
            self.method.privacy.check_delta(self.clients)
        if self.privacy:
            check_planned(self.privacy)

    @property
    def privacy(self) -> RunPrivacy | None:
        """What the noise of all rounds reaches; None without differential privacy."""
        if self.method.privacy is None:
            return None
        return planned_privacy(
            self.method.privacy, clients=self.clients, cohort=self.cohort, seed=self.seed,
            rounds=self.rounds,
        )  # fmt: skip

    def with_epsilon(self, epsilon: float) -> Deployment:
        """Return the deployment with the least noise for an epsilon.

        Raises:
            ConfigError: No noise reaches it, or the method has no differential privacy.
        """
        if (planned := self.privacy) is None:
            raise ConfigError("--dp-epsilon needs --dp-clip")
        settings = with_epsilon(planned, epsilon).settings
        return replace(self, method=replace(self.method, privacy=settings))

    @property
    def trained_examples(self) -> int:
        """Examples of a client in a round, over the passes of the method besides."""
        return self.examples * self.method.local_passes

    def work(self, trained: TrainedModel) -> LocalWork:
        """Return the operations of a client's local training.

        Args:
            trained: What trains.
        """
        zeroth_order = self.method.zeroth_order
        operations = count_operations(
            self.model.full_table(),
            self.model.config,
            () if zeroth_order else trained.tensors,
            self.tokens,
            checkpointing=self.checkpointing,
        )
        if zeroth_order:
            batch = min(self.batch, self.examples)
            return forward_work(operations, zeroth_order.steps, batch, self.precision)
        batch, passes = min(self.batch, self.examples), self.method.local_passes
        return LocalWork(operations, batch, passes, precision=self.precision)

    def trained_model(self) -> TrainedModel:
        """Return what trains in the method's layout.

        Raises:
            LayoutError: The adapters do not fit the model, or the library cannot build it.
        """
        made = self.model.trained_model(self.method.adapters(self.adapters))
        method = self.method
        if method.zeroth_order:
            return replace(made, tensors=(seed_tensor(method.zeroth_order.seeds),))
        tensors = trained_of_layout(made.tensors, method.trains, method.heads)
        return replace(made, tensors=tensors)
