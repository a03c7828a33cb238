"""Configuration of a run: task, method and settings, with the task's defaults."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from importlib.metadata import version
from typing import Any, TypeVar

from floss_sim import __version__, documents
from floss_sim.errors import ConfigError, LayoutError
from floss_sim.families import check_kind, family_of
from floss_sim.families.adapter_settings import AdapterSettings
from floss_sim.families.model_table import ModelTable
from floss_sim.families.target_modules import resolve_modules
from floss_sim.families.target_modules import stack_layers as table_layers
from floss_sim.families.trained_model import sized_table
from floss_sim.families.trained_tensors import TrainedModel
from floss_sim.fingerprints import fingerprint
from floss_sim.methods import Method, SizePredictor
from floss_sim.methods.dora_support import check_dora
from floss_sim.network.devices.local_work import LocalWork
from floss_sim.protocol import LearnerIdentity
from floss_sim.records.schema import RECORD_VERSION
from floss_sim.runs.client_work import client_model, client_work
from floss_sim.tasks import Task, TaskData, partition
from floss_sim.tasks.partition import Indices, check_law
from floss_sim.tasks.sections import ClientSection, PartitionSection, ServerSection
from floss_sim.vectors.adapter_layout import adapter_targets, is_plain, layout_of
from floss_sim.vectors.layout import ADAPTER_LAYOUTS, Layout, seed_layout

CODE_SCHEMA = 8  # raised whenever a change of code changes a trajectory
SectionT = TypeVar("SectionT", ClientSection, ServerSection, PartitionSection)
# Packages whose version can change training results or payload sizes.
_VERSIONED_PACKAGES = ("numpy", "torch", "transformers", "peft", "constriction", "pcodec")


@dataclass(frozen=True)
class RunConfig:
    """Everything that fixes a training trajectory except the number of rounds.

    Args:
        task: Loaded task.
        method: Method: layout, selectors and value codes of downloads and uploads.
        rank: LoRA rank.
        seed: Seed of all random streams of the run; 0 or more.
        fleet: Number of clients and partition of the data.
        client: Settings of local SGD.
        server: Server optimiser and cohort size.

    Example:
        >>> from floss_sim import RunConfig, floss, load_task
        >>> config = RunConfig.of(load_task("digits"), floss(1 / 4, 1 / 16), rank=4)
        >>> config.describe()
        'rank 4, down 1/4, up 1/16'
        >>> config.with_(server={"cohort": 10}).server.cohort
        10
    """

    task: Task
    method: Method
    rank: int
    seed: int
    fleet: PartitionSection
    client: ClientSection
    server: ServerSection

    @classmethod
    def of(cls, task: Task, method: Method, *, rank: int = 16, seed: int = 0) -> RunConfig:
        """Return the run of a task and a method with the task's defaults.

        Raises:
            LayoutError: The rank does not fit the backbone.
            ConfigError: The cohort is larger than the fleet, or the seed is negative.
        """
        return cls(task, method, rank, seed, task.partition, task.client, task.server).checked()

    def with_(
        self,
        *,
        fleet: Mapping[str, Any] | None = None,
        client: Mapping[str, Any] | None = None,
        server: Mapping[str, Any] | None = None,
    ) -> RunConfig:
        """Return the run with some settings changed.

        Args:
            fleet: New values of the partition section, by key.
            client: New values of the client section, by key.
            server: New values of the server section, by key.

        Raises:
            ConfigError: A key or value is invalid, by the same rules as in a task file.
        """
        return replace(
            self,
            fleet=_update(self.fleet, fleet),
            client=_update(self.client, client),
            server=_update(self.server, server),
        ).checked()

    def checked(self) -> RunConfig:
        """Return this run after checking that its settings are consistent.

        Raises:
            LayoutError: A target is unknown, or a tier's download has more ranks than the run.
            ConfigError: The cohort is larger than the fleet, the seed is negative, the partition
                has no meaning for the task, a tier of the method has no client, or the weights or
                the delta do not fit the method's differential privacy.
        """
        if self.seed < 0:
            raise ConfigError(f"seed {self.seed} must not be negative")
        check_law(self.fleet.law, self.task.labels)
        if self.server.cohort > self.fleet.clients:
            raise ConfigError(
                f"cohort of {self.server.cohort} clients; "
                f"valid: 1 to the fleet's {self.fleet.clients}"
            )
        self._check_adapters()
        self._check_privacy()
        clients = self.fleet.clients
        self.method.check_layout(self.layout)
        for number in range(len(self.method.tiers)):
            if not self._serves(number):
                raise ConfigError(
                    f"tier {number + 1} of method {self.method.name!r} has no client in a "
                    f"fleet of {clients}; give the tier a larger share or the fleet more clients"
                )
        return self

    def _check_adapters(self) -> None:
        """Check targets, layers and DoRA, also for layouts without adapters.

        Raises:
            LayoutError: A target matches nothing, a layer does not exist, or the method cannot hold
                DoRA.
        """
        backbone, kind = self.task.backbone_config, self.task.kind
        if self.task.lora.dora:
            check_dora(self.method)
        if not is_plain(backbone, self.adapters):
            check_kind(backbone, kind)
            resolve_modules(sized_table(backbone, kind, self.task.labels), self.adapters)

    def _check_privacy(self) -> None:
        """Raise ConfigError if the mean's weights or the fleet do not fit the method's privacy."""
        privacy = self.method.privacy
        if privacy is None:
            return
        if self.server.weighting != "uniform" and privacy.trust != "local":
            raise ConfigError(
                f"differential privacy with trust {privacy.trust!r} needs --weighting uniform: one "
                "client's share must not depend on the others; valid with any weights: local"
            )
        privacy.check_delta(self.fleet.clients)

    def _serves(self, tier: int) -> bool:
        """Return whether a tier has a client.

        Tiers ascend with the clients' numbers, so that a binary search finds the tier.
        """
        clients = range(self.fleet.clients)
        first = bisect_left(clients, tier, key=self.tier_of)
        return first < len(clients) and self.tier_of(first) == tier

    def tier_of(self, client: int) -> int:
        """Return the tier of the method to which a client belongs."""
        return self.method.tier_of(client, self.fleet.clients)

    @cached_property
    def sizes(self) -> SizePredictor:
        """Predicted sizes of the run's messages, and their errors on recorded runs."""
        return SizePredictor(self.method, self.layout, self.server.cohort)

    @cached_property
    def layout(self) -> Layout:
        """Layout of the trained entries.

        Raises:
            TaskError: The backbone's family does not support the task's kind.
            LayoutError: The method, the targets or the rank do not fit the backbone.
        """
        task, zeroth_order = self.task, self.method.zeroth_order
        check_kind(task.backbone_config, task.kind)
        if zeroth_order:
            return seed_layout(zeroth_order.seeds)
        adapters, shared = self.adapters, adapter_settings(task, self.rank)
        try:
            return layout_of(
                task.backbone_config,
                task.kind,
                task.labels,
                trains=self.method.trains,
                settings=adapters,
                heads=self.method.heads,
            )
        except LayoutError as error:
            if adapters.rank == shared.rank:
                raise
            private = adapters.rank - shared.rank
            raise LayoutError(
                f"shared rank {shared.rank} and private rank {private} together: {error}"
            ) from None

    @property
    def keeps_prefix(self) -> bool:
        """Whether activations below the first trained layer are kept for each example."""
        return self.client.frozen_prefix and self.layout.has_frozen_layers

    @cached_property
    def client_model(self) -> tuple[ModelTable, TrainedModel]:
        """The model with its classes, and what a client trains.

        Raises:
            LayoutError: The targets or the rank do not fit the backbone.
        """
        return client_model(self.task, self.method, self.adapters)

    @cached_property
    def work(self) -> LocalWork:
        """Operations of a client's local training.

        Raises:
            TaskError: The data cannot be read.
            LayoutError: The targets or the rank do not fit the backbone.
        """
        return client_work(self.task, self.method, self.adapters, self.client)

    @cached_property
    def adapters(self) -> AdapterSettings:
        """Settings of the adapters, targets as roles where the family is known.

        Raises:
            LayoutError: A target is unknown, or two settings contradict each other.
        """
        return self.method.adapters(adapter_settings(self.task, self.rank))

    @cached_property
    def clients(self) -> tuple[Indices, ...]:
        """Indices of each client's training examples, by client number."""
        return _clients(self.task.content, self.fleet, self.seed)

    def check_partition(self) -> None:
        """Raise TaskError if the data cannot be partitioned over the clients."""
        len(self.clients)

    def client_examples(self) -> list[int]:
        """Return each client's examples per round, over all local passes, by client number."""
        return [self.local_passes * part.size for part in self.clients]

    @property
    def local_passes(self) -> int:
        """Passes of a client over its examples in a round: local epochs, times the method's."""
        return self.client.epochs * self.method.local_passes

    def settings(self) -> dict[str, Any]:
        """Return the settings as plain values, ready for JSON."""
        return {
            "task": self.task.name,
            "kind": self.task.kind,
            "method": self.method.settings(),
            **self._adapters(),
            "seed": self.seed,
            "fleet": self.fleet.model_dump(mode="json", exclude_defaults=True),
            "client": self.client.model_dump(mode="json", exclude_defaults=True),
            "server": self.server.model_dump(mode="json", exclude_defaults=True),
            "preprocess": self._preprocess(),
        }

    def _preprocess(self) -> dict[str, Any]:
        """Return the task's keys, and the normalisation where the backbone's own file gives it."""
        own = self.task.preprocess.model_dump(mode="json", exclude_defaults=True)
        used = self.task.normalisation
        return own | (used.settings() if used else {})

    def _adapters(self) -> dict[str, Any]:
        """Return rank and LoRA settings (targets as roles); empty for layouts without adapters."""
        if self.method.trains not in ADAPTER_LAYOUTS:
            return {}
        lora = self.task.lora.model_dump(mode="json", exclude_defaults=True)
        return {"rank": self.rank, "lora": {**lora, "targets": list(self.adapters.targets)}}

    def describe(self) -> str:
        """Return a short description of the run, such as ``rank 16, down 1/4, up 1/16``."""
        if self.method.trains not in ADAPTER_LAYOUTS:
            return self.method.describe()
        adapters = adapter_settings(self.task, self.rank)
        return f"{adapters.describe()}, {self.method.describe()}"

    def trajectory(self, learner: LearnerIdentity) -> dict[str, Any]:
        """Return the ingredients of the trajectory fingerprint.

        The number of rounds is not included, because a longer run continues a shorter one. The
        network is not included, because simulated time does not affect training if rounds wait
        for all their clients.

        Args:
            learner: Identity of the learner that trains.
        """
        return {
            **self.settings(),
            "layout": self.layout.digest.hex(),
            "data": self.task.content.digest,
            "backbone": self.task.backbone_hash,
            **learner.settings(),
            "versions": dict(installed_versions()),
            "code_schema": CODE_SCHEMA,
            "record_version": RECORD_VERSION,
        }

    def description(
        self, learner: LearnerIdentity, conditions: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the content of this run's ``run.json``.

        Args:
            learner: Identity of the learner that trains.
            conditions: Network and policy settings that affect training, from
                :func:`floss_sim.runs.conditions.conditions`; empty or None if they do not.
        """
        self.check_partition()
        trajectory = {**self.trajectory(learner), **(conditions or {})}
        return {
            "record_version": RECORD_VERSION,
            "floss_sim": __version__,
            "fingerprint": fingerprint(trajectory),
            "method": self.method.name,
            "work": self.work.to_json(),
            "trajectory": trajectory,
        }


def adapter_settings(task: Task, rank: int) -> AdapterSettings:
    """Return the settings of a task's adapters, targets as roles where the family is known.

    Raises:
        LayoutError: A target is unknown, or two settings contradict each other.
    """
    lora = task.lora
    return AdapterSettings(
        rank=rank,
        targets=adapter_targets(task.backbone_config, lora.targets),
        alpha=lora.alpha,
        rslora=lora.rslora,
        dora=lora.dora,
        layers=lora.layers,
        depth=lora.depth,
    )


def stack_layers(task: Task) -> int:
    """Return the number of layers of the stack in which a task's targets lie.

    Raises:
        LayoutError: A target is unknown, or the targets lie in no stack or in several.
    """
    backbone, settings = task.backbone_config, adapter_settings(task, 1)
    if is_plain(backbone, replace(settings, depth=None, layers=None, dora=False)):
        return family_of(backbone).depth(backbone)
    return table_layers(sized_table(backbone, task.kind, task.labels), settings)


@lru_cache(maxsize=64)
def _clients(data: TaskData, fleet: PartitionSection, seed: int) -> tuple[Indices, ...]:
    """Return the partition of the data, cached for runs with the same data, fleet and seed."""
    return partition(
        data.train[1],
        fleet.clients,
        fleet.law,
        fleet.alpha,
        seed,
        groups=data.groups,
        min_examples=fleet.min_examples,
    )


def _update(section: SectionT, changes: Mapping[str, Any] | None) -> SectionT:
    changed = {**section.model_dump(), **(changes or {})}
    return documents.validate(changed, type(section), ConfigError, "settings")


@cache
def installed_versions() -> Mapping[str, str]:
    """Return the versions of the packages that can change training results or payload sizes."""
    return {name: version(name) for name in _VERSIONED_PACKAGES}
