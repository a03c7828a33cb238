"""A node's part of a deployed run: decode a download, train, select and encode the update."""

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
from floss_sim.protocol import ClientState, Dispatch, Upload
from floss_sim.runs.config import RunConfig
from floss_sim.tasks.partition import Indices
from floss_sim.training import open_learner

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
        cls, path: Path, *, data: str = "", backbone: str = "", device: str = "cpu"
    ) -> NodeRun:
        """Return the run of a run file on this node.

        Args:
            path: The run file.
            data: The node's own data, a local file or folder in the form of the task's; empty: the
                partition of the task's data.
            backbone: Local folder that replaces the file's backbone; empty: none.
            device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.

        Raises:
            ConfigError: The file, the data or the backbone cannot be used.
        """
        run = read_run_file(path, backbone=backbone, reads_data=not data)
        config = run.config
        if data:
            task = config.task.with_own_examples(data, run.classes)
            given = {field.name: getattr(config, field.name) for field in fields(RunConfig)}
            config = _OwnDataConfig(**{**given, "task": task})
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
            learner.forget(dispatch)
