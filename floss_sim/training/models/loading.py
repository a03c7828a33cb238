"""Backbone loading from local folders, with checks of all weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers import logging as transformers_logging

from floss_sim.errors import TaskError
from floss_sim.families import IMAGES, NEXT_TOKEN, TEXTS, family_of
from floss_sim.tasks import Task

_AUTO_CLASSES = {
    IMAGES: AutoModelForImageClassification,
    TEXTS: AutoModelForSequenceClassification,
    NEXT_TOKEN: AutoModelForCausalLM,
}


def load_backbone(task: Task) -> PreTrainedModel:
    """Return a task's backbone in float32 and evaluation mode, with a new head if it has labels.

    Weights are read from safetensors, in one file or in shards, in the task's folder. Remote code
    is never run. The new head's random values do not matter: every layout with a head overwrites
    them. The config of a text model gets a padding token: its own if defined, else its end token,
    else 0.

    Raises:
        TaskError: The folder cannot be loaded, or a weight of the backbone is missing, has a
            different shape, or is not finite.
    """
    head = {"num_labels": task.labels} if task.labels else {}
    try:
        with _silence_transformers():
            model, report = _AUTO_CLASSES[task.kind].from_pretrained(
                task.backbone_path,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # replaces a stored head of other classes
                local_files_only=True,
                output_loading_info=True,
                trust_remote_code=False,
                use_safetensors=True,
                **head,
            )
    except Exception as error:  # a damaged folder can raise anything
        raise _refusal(task, (str(error) or type(error).__name__).splitlines()[0]) from None
    new = f"{family_of(task.backbone_config).head}." if task.labels else None
    lacking = sorted(n for n in report["missing_keys"] if not new or not n.startswith(new))
    if lacking:
        raise _refusal(task, f"missing tensor {lacking[0]!r}{_more_suffix(lacking)}")
    resized = sorted(m for m in report["mismatched_keys"] if not new or not m[0].startswith(new))
    if resized:
        name, found, expected = resized[0]
        shapes = f"has shape {tuple(found)}, expected {tuple(expected)}"
        raise _refusal(task, f"tensor {name!r} {shapes}{_more_suffix(resized)}")
    for name, parameter in model.named_parameters():
        if not (new and name.startswith(new)) and not torch.isfinite(parameter).all():
            raise _refusal(task, f"tensor {name!r} holds NaN or infinity")
    if task.kind != IMAGES:
        model.config.pad_token_id = _padding_token(model.config)
    return model.eval()


@contextmanager
def _silence_transformers() -> Iterator[None]:
    """Silence transformers in the block: its warning about a new head is expected here."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)


def _refusal(task: Task, reason: str) -> TaskError:
    return TaskError(f"task {task.name!r}: cannot load backbone {task.backbone_path}: {reason}")


def _more_suffix(names: list[object]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _padding_token(config: PretrainedConfig) -> int:
    ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    known = [config.pad_token_id, *ends]
    return next((t for t in known if t is not None and 0 <= t < config.vocab_size), 0)


def checkpoint_layers(backbone: PreTrainedModel) -> None:
    """Switch gradient checkpointing on: the backward pass recomputes each layer's activations."""
    backbone.config.use_cache = False  # do not store keys and values either
    if hasattr(backbone, "activation_checkpointing_enable"):  # since transformers 5.23
        backbone.activation_checkpointing_enable()
    else:
        backbone.gradient_checkpointing_enable()
