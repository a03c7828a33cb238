"""Sequential reference learner: clients train one after another on PEFT's model; slow, simple."""

from __future__ import annotations

from floss_sim.protocol import Dispatch
from floss_sim.runs.config import RunConfig
from floss_sim.training.learner_choice import SEQUENTIAL
from floss_sim.training.learners.torch_learner import TorchLearner
from floss_sim.training.local_sgd import Work, joined, train_locally
from floss_sim.training.models.flat_model import FlatModel
from floss_sim.training.models.peft_adapters import scaled_adapters
from floss_sim.vectors.top_k import Vector


class SequentialLearner(TorchLearner):
    """Learner that trains the clients of a run one after another on one model.

    Args:
        config: The run.
        model: Model with the run's layout; its values are overwritten.
    """

    def __init__(self, config: RunConfig, model: FlatModel) -> None:
        super().__init__(config, model, SEQUENTIAL)
        self._model = model
        self._scale = self.method.training_scale(self.layout)

    def _update(self, dispatch: Dispatch) -> Vector:
        works = self._works.of(dispatch)
        self.steps.begin({dispatch.sequence: sum(len(work.batches) for work in works)})
        return joined([self._trained_off(dispatch, work) for work in works])

    def _trained_off(self, dispatch: Dispatch, work: Work) -> Vector:
        """Return what one local training takes off its start values."""
        with scaled_adapters(self._model.model, self._scale):
            trained_N = train_locally(
                self._model, *self._split, self.config.client, work,
                lambda: self._count([dispatch.sequence]),
            )  # fmt: skip
        return work.start - trained_N
