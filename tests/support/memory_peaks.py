"""Peak memory of a local step, as torch's own allocator reports it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from counted_models import CountedModel
from torch.profiler import ProfilerActivity, profile


@dataclass(frozen=True)
class MemoryPeak:
    """Bytes of a step in steady state.

    Attributes:
        weights: Parameters, those that train included.
        held: Gradients and momentum of the trained entries.
        activations: The most that the step allocates besides, at any instant.
    """

    weights: int
    held: int
    activations: int

    @property
    def total(self) -> int:
        """All parts together."""
        return self.weights + self.held + self.activations


def peak_of_step(case: CountedModel, *, checkpointing: bool = False) -> MemoryPeak:
    """Return the peak of the second step of a model: the first one makes gradients and momentum.

    Every allocation and release of a tensor is an event of torch's profiler.
    """
    model = case.model()
    model.get_base_model().set_attn_implementation("sdpa")  # the library's default
    if checkpointing:
        model.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=1e-3, momentum=0.9)
    inputs = case.inputs()

    def step() -> None:
        optimiser.zero_grad(set_to_none=False)
        model(**inputs).loss.backward()
        optimiser.step()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        step()
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
            step()
    events = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
    live = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        most = max(most, live)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    held = 2 * sum(p.numel() * p.element_size() for p in trained)
    return MemoryPeak(weights, held, most)
