"""A node's part of a deployed run: it trains on its data, and measures its own model.

It decodes a download, trains, selects and encodes the update. Where a method has private entries,
the node alone has its own model, and so measures it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from floss_sim.deployment.run_file import DeployedRun, read_run_file
from floss_sim.errors import ConfigError, MissingStateError, PayloadError
from floss_sim.protocol import NO_STATE, ClientState, Dispatch, OwnMetrics, Upload
from floss_sim.runs.config import RunConfig
from floss_sim.tasks.partition import Indices
from floss_sim.training import open_learner, replace_adapter, training_facts
from floss_sim.wire import encode

if TYPE_CHECKING:
    from floss_sim.training.learners.torch_learner import TorchLearner


@dataclass(frozen=True)
class _OwnDataConfig(RunConfig):
    """A run on a node with data of its own: whatever its client number, it holds all examples."""

    @cached_property
    def clients(self) -> tuple[Indices, ...]:
        """All examples of the node, for every client number."""
        return (np.arange(len(self.task.content.train[1])),) * self.fleet.clients


class NodeRun:
    """A run on one node.

    Args:
        run: The run.
        learner: Learner of the run's configuration.
    """

    def __init__(self, run: DeployedRun, learner: TorchLearner) -> None:
        self.run = run
        self._learner = learner

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        data: str = "",
        validation: str = "",
        backbone: str = "",
        noise: str = "seed",
        device: str = "cpu",
    ) -> NodeRun:
        """Return the run of a run file on this node.

        Args:
            path: The run file.
            data: The node's own data, a local file or folder in the form of the task's; empty: the
                partition of the task's data.
            validation: Data held out of the node's own, in the same form, on which it measures its
                own model; empty: none.
            backbone: Local folder that replaces the file's backbone; empty: none.
            noise: Source of the noise of differential privacy.
            device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.

        Raises:
            ConfigError: The file, the data or the backbone cannot be used.
        """
        run = read_run_file(path, backbone=backbone, reads_data=not data).with_noise(noise)
        config = run.config
        if data:
            task = config.task.with_own_examples(data, run.classes, validation=validation)
            fleet = config.fleet.model_copy(update={"law": "iid"})  # not dealt by labels
            given = {field.name: getattr(config, field.name) for field in fields(RunConfig)}
            config = _OwnDataConfig(**{**given, "task": task, "fleet": fleet})
        return cls(run, open_learner(config, device, 1, "sequential"))

    def train(self, dispatch: Dispatch, state: ClientState) -> Upload:
        """Return the upload of a download, and the states that the client may keep.

        Args:
            dispatch: The download as it came; its number of entries is not used.
            state: State that the client kept from its last participation.

        Raises:
            ConfigError: The client is not in the fleet, or has no example.
            PayloadError: The download is no message of this run.
            MissingStateError: The download builds on a state that the client has lost.
            NonFiniteUpdateError: Training diverged.
        """
        with self._received(dispatch, state):
            if not len(self._learner.config.clients[dispatch.client]):
                raise ConfigError(f"client {dispatch.client} has no example to train on")
            return self._learner.train(dispatch, state)

    def evaluate(self, dispatch: Dispatch, state: ClientState, out: str = "") -> OwnMetrics:
        """Return accuracy and loss of the node's own model: the download and its private entries.

        They are those of the task's validation split, weighted by the labels of the client's
        partition; or of what a node with data of its own holds out.

        Args:
            dispatch: The download as it came.
            state: State that the client kept from its last participation.
            out: Folder to which the own model is exported; empty: none.

        Raises:
            ConfigError: The client is not in the fleet, or the node holds no example out.
            PayloadError: The download is no message of this run.
            RecordError: The folder cannot be written.
        """
        learner, config = self._learner, self._learner.config
        with self._received(dispatch, state):
            if not len(config.task.content.validation[1]):
                raise ConfigError("the node has no held-out data to measure its own model on")
            own_N = learner.own_model(dispatch, state)
            made = learner.measure_own_model(dispatch.client, own_N)
        if out:
            blob = encode(learner.layout, own_N, np.ones(own_N.size, dtype=bool))
            facts = {
                "rounds": str(dispatch.version),
                "accuracy on data like the node's": f"{made.accuracy:.3f}",
            }
            replace_adapter(config, blob, Path(out), training_facts(config) | facts)
        return made

    @contextmanager
    def _received(self, dispatch: Dispatch, state: ClientState) -> Iterator[None]:
        """Hold a client's state, and nothing of others, for the block that uses its download."""
        client, learner = dispatch.client, self._learner
        fleet = learner.config.fleet.clients
        if not 0 <= client < fleet:
            raise ConfigError(f"no client {client} in a fleet of {fleet}")
        learner.restore_clients({client: state})
        try:
            if learner.method.change_ledger and dispatch.held and not state:
                raise MissingStateError(f"changes since version {dispatch.held}, which is lost")
            yield
        except PayloadError as error:
            raise type(error)(f"the download of client {client}: {error}") from None
        finally:
            learner.forget(dispatch, NO_STATE)
