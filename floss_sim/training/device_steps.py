"""Measured local steps of this machine: real forward and backward passes of small models.

Each step is that of a client: LoRA adapters by PEFT on a model of the library with random weights,
forward pass, backward pass, SGD. The fastest of some repetitions counts: what slows the others down
is other processes. One thread of a CPU is timed by the CPU's own seconds, which other processes do
not lengthen.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from floss_sim.families import NEXT_TOKEN, TEXTS
from floss_sim.families.adapter_settings import AdapterSettings
from floss_sim.families.backbone import TaskModel
from floss_sim.families.operations import count_operations
from floss_sim.families.target_modules import resolve_modules

_REPETITIONS = 5  # timed steps, after one that is not
_PEAK_SIDE = 2048  # of the square matrices of the peak rate
_LABELS = 2
Clock = Callable[[], float]  # returns seconds
_CLASSES: dict[str, Any] = {
    TEXTS: AutoModelForSequenceClassification,
    NEXT_TOKEN: AutoModelForCausalLM,
}


@dataclass(frozen=True)
class StepCase:
    """A local step to be measured: a model, its adapters and its batch.

    Attributes:
        family: The model library's name of the family.
        kind: Task kind.
        width: Width of the model.
        layers: Number of layers.
        tokens: Tokens of an example.
        batch: Examples of the step.
        depth: Layers with adapters, from the last one.
    """

    family: str
    kind: str
    width: int
    layers: int
    tokens: int
    batch: int
    depth: int

    @property
    def name(self) -> str:
        """Family, width and layers, in one word."""
        return f"{self.family}-{self.width}x{self.layers}-depth-{self.depth}"

    @property
    def config(self) -> dict[str, Any]:
        """The content of its ``config.json``."""
        sizes = {
            "hidden_size": self.width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.width // 32,
            "intermediate_size": 4 * self.width,
            "vocab_size": 8192,
            "max_position_embeddings": 512,
        }
        made: dict[str, Any] = AutoConfig.for_model(self.family, **sizes).to_dict()
        return made


CASES = (  # from a few MFLOP a step to some dozen GFLOP
    StepCase("bert", TEXTS, 128, 2, 32, 4, 2),
    StepCase("bert", TEXTS, 256, 4, 64, 8, 4),
    StepCase("bert", TEXTS, 384, 6, 64, 16, 6),
    StepCase("bert", TEXTS, 384, 6, 64, 16, 2),
    StepCase("bert", TEXTS, 768, 4, 128, 4, 4),
    StepCase("llama", NEXT_TOKEN, 128, 4, 64, 2, 4),
    StepCase("llama", NEXT_TOKEN, 256, 4, 128, 4, 1),
    StepCase("llama", NEXT_TOKEN, 384, 6, 128, 1, 6),
    StepCase("llama", NEXT_TOKEN, 512, 4, 128, 8, 4),
    StepCase("llama", NEXT_TOKEN, 768, 4, 256, 2, 2),
)


@dataclass(frozen=True)
class TimedStep:
    """A measured step: its case, operations, precision and seconds."""

    case: StepCase
    operations: float
    precision: str
    seconds: float


def timed_steps(
    device: str, threads: int, precisions: Sequence[str], cases: Sequence[StepCase]
) -> Iterator[TimedStep]:
    """Yield the measured steps of this machine.

    Args:
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``.
        threads: Number of torch threads.
        precisions: ``"fp32"`` or ``"bf16"``, or both.
        cases: Steps to be measured.
    """
    torch.set_num_threads(threads)
    clock = _clock_of(device, threads)
    for precision in precisions:
        for case in cases:
            yield _timed(case, torch.device(device), precision, clock)


def _clock_of(device: str, threads: int) -> Clock:
    return time.process_time if (device, threads) == ("cpu", 1) else time.perf_counter


def _timed(case: StepCase, device: torch.device, precision: str, clock: Clock) -> TimedStep:
    config, settings = case.config, AdapterSettings(rank=8, targets=("q", "v"), depth=case.depth)
    labels = _LABELS if case.kind == TEXTS else 0
    model = TaskModel(case.name, config, case.kind, labels)
    trained, table = model.trained_model(settings), model.full_table()
    operations = count_operations(table, config, trained.tensors, case.tokens)
    paths = list(resolve_modules(table, settings))
    step = _step_of(case, config, paths, list(table.head), device, precision)
    seconds = [_seconds(step, device, clock) for _ in range(_REPETITIONS + 1)]
    return TimedStep(case, operations.of_step(case.batch), precision, min(seconds[1:]))


def _step_of(
    case: StepCase,
    config: dict[str, Any],
    paths: list[str],
    head: list[str],
    device: torch.device,
    precision: str,
) -> Callable[[], None]:
    """Return a function that makes a local step: forward and backward pass, SGD."""
    stated = {key: value for key, value in config.items() if key != "model_type"}
    library = AutoConfig.for_model(case.family, **stated)
    library.num_labels, library.pad_token_id = _LABELS, 0
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = _CLASSES[case.kind].from_config(library)
        lora = LoraConfig(r=8, target_modules=paths, modules_to_save=head or None)
        model = get_peft_model(plain, lora).train().to(device)
    if precision == "bf16":
        model = model.to(torch.bfloat16)
    ids = torch.randint(1, library.vocab_size, (case.batch, case.tokens), device=device)
    labels = ids if case.kind == NEXT_TOKEN else ids[:, 0] % _LABELS
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=1e-3, momentum=0.9)

    def step() -> None:
        optimiser.zero_grad()
        loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss
        loss.backward()
        optimiser.step()

    return step


def _seconds(step: Callable[[], object], device: torch.device, clock: Clock) -> float:
    began_s = clock()
    step()
    _wait(device)
    return clock() - began_s


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()


def peak_rate(device: str, threads: int, precision: str) -> float:
    """Return the operations in a second of a product of large matrices, the fastest of some."""
    torch.set_num_threads(threads)
    place, side = torch.device(device), _PEAK_SIDE
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(side, side, device=place, dtype=kind) for _ in range(2))
    clock = _clock_of(device, threads)
    seconds = [_seconds(lambda: a @ b, place, clock) for _ in range(_REPETITIONS + 1)]
    return 2 * side**3 / min(seconds[1:])
