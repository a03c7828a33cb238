"""Zeroth-order training along seeded directions, against a slow twin and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForImageClassification

from floss_sim import RunConfig, load_task, run
from floss_sim.errors import ConfigError
from floss_sim.methods import fedkseed
from floss_sim.network import NetworkProfile
from floss_sim.protocol.sampling import draw_cohort
from floss_sim.rng import stream, stream_seed
from floss_sim.training import open_learner
from floss_sim.training.learners.seed_learner import SeedLearner
from floss_sim.training.model_card import training_facts
from floss_sim.training.models.parameter_names import parameter_names
from floss_sim.vectors.adapter_layout import layout_of

SEEDS, STEPS, EPSILON, RATE = 16, 3, 5e-4, 1e-4


@pytest.fixture(scope="module")
def config() -> RunConfig:
    """Run whose server would step by FedAdam, and whose clients' rate is that of SGD."""
    return RunConfig.of(load_task("digits"), fedkseed(SEEDS, STEPS, EPSILON, RATE))


class SlowSeeds:
    """The server keeps one sum for each direction; a client rebuilds the model from all of them."""

    def __init__(self, config: RunConfig) -> None:
        task, self.config = config.task, config
        model = AutoModelForImageClassification.from_pretrained(
            task.backbone_path, num_labels=10, local_files_only=True
        )
        whole = layout_of(
            task.backbone_config, task.kind, 10, trains="full", settings=config.adapters
        )
        self.model = model.eval()
        parameters, names = dict(model.named_parameters()), parameter_names(whole, model)
        self.parameters = [parameters[names[name]] for name in sorted(names)]
        sizes = [p.numel() for p in self.parameters]
        for name, parameter in zip(sorted(names), self.parameters, strict=True):
            if name.startswith("head."):
                drawn = stream(0, "initial", name).normal(0, 0.02, parameter.numel())
                values = torch.from_numpy(drawn.astype(np.float32)).view(parameter.shape)
                parameter.data = values if name.endswith("weight") else torch.zeros_like(parameter)
        self.start = torch.cat([p.detach().ravel() for p in self.parameters])
        self.directions = []
        for number in range(SEEDS):
            draw = torch.Generator().manual_seed(stream_seed(0, "direction", number))
            self.directions.append(torch.randn(sum(sizes), generator=draw))
        self.sums = np.zeros(SEEDS)

    def loss(self, weights: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> float:
        with torch.no_grad():
            first = 0
            for parameter in self.parameters:
                piece = weights[first : first + parameter.numel()]
                parameter.copy_(piece.view_as(parameter))
                first += parameter.numel()
            return functional.cross_entropy(self.model(pixel_values=x).logits, y).item()

    def client(self, client: int, sequence: int) -> np.ndarray:
        """Return the sums of a client after its steps."""
        sums = self.sums.copy()
        weights = self.start + sum(float(a) * z for a, z in zip(sums, self.directions, strict=True))
        examples = self.config.clients[client]
        x, y = (torch.from_numpy(a)[examples] for a in self.config.task.content.train)
        names = ("client", client, "dispatch", sequence)
        order = stream(0, *names, "batches").permutation(len(y))
        batches = [order[begin : begin + 16] for begin in range(0, len(y), 16)]
        chosen = stream(0, *names, "seeds").choice(SEEDS, STEPS, replace=False)
        for step, number in enumerate(chosen):
            batch, z = batches[step % len(batches)], self.directions[number]
            above, below = (
                self.loss(weights + side * EPSILON * z, x[batch], y[batch]) for side in (1, -1)
            )
            moved = RATE * (above - below) / (2 * EPSILON)
            weights = weights - moved * z
            sums[number] -= moved
        return sums

    def round(self, number: int) -> None:
        cohort = draw_cohort(0, number, 50, 5).clients
        ends = [self.client(c, 5 * (number - 1) + i) for i, c in enumerate(cohort)]
        self.sums = np.mean(ends, axis=0)


def test_the_product_agrees_with_the_paper_over_ten_rounds(
    config: RunConfig, paper: NetworkProfile
):
    learner = open_learner(config, "cpu", learner="sequential")
    assert isinstance(learner, SeedLearner)
    record = run(config, paper, learner, rounds=10)
    slow = SlowSeeds(config)
    for number in range(1, 11):
        slow.round(number)
    ours = learner.snapshot().tensors["P"]
    assert np.abs(ours - slow.sums).max() < 0.01 * np.abs(slow.sums).max()
    transfers = record.transfers.to_pylist()
    assert {row["entries"] for row in transfers if row["direction"] == "up"} == {STEPS}


def test_a_message_of_the_papers_setting_takes_less_than_18_kilobytes():
    sizes = RunConfig.of(load_task("digits"), fedkseed()).sizes
    (down, sums), (up, steps) = (sizes.message(way, 0, 99) for way in ("down", "up"))
    assert (sums, steps) == (4096, 200)
    assert 3 * 4096 < down < 18_000  # values are packed
    assert 3 * 200 < up < 8 * 200


def test_a_step_takes_two_forward_passes_and_no_backward_pass(config: RunConfig):
    whole = RunConfig.of(load_task("digits"), fedkseed(SEEDS, STEPS)).work
    assert whole.operations.backward == 0
    once = 4 * 2 * 17 * (4 * 64**2 + 2 * 64 * 128)  # of a model of width 64, to a tenth
    assert whole.operations.forward == pytest.approx(2 * once, rel=0.2)
    assert [whole.of_examples(n) for n in (1, 100)] == [STEPS * 16 * whole.operations.forward] * 2
    assert whole.steps(100) == STEPS


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"seeds": 0}, "seeds 0; valid"),
        ({"seeds": 4, "steps": 5}, "steps 5; valid: 1 to the 4"),
        ({"rate": -1e-4}, "rate -0.0001; valid: numbers above 0, or 0 for the client's"),
    ],
)
def test_numbers_out_of_range_are_refused(settings: dict[str, float], said: str):
    with pytest.raises(ConfigError, match=said):
        fedkseed(**settings)


def test_its_card_tells_its_own_training(config: RunConfig):
    facts = training_facts(config)
    assert facts["local training"] == "3 steps a round, learning rate 0.0001, batch 16"
    assert facts["server"] == "adds the mean update"
