"""Backbone loading from local folders, with checks of all weights."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch.nn.modules.batchnorm import _BatchNorm
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel
from transformers import logging as transformers_logging

from floss_sim.errors import ConfigError, TaskError
from floss_sim.families import FAMILIES, IMAGES, check_kind, model_inputs
from floss_sim.families.library_models import config_of, model_class
from floss_sim.families.stored import more_suffix
from floss_sim.families.trained_model import table_of_config
from floss_sim.tasks import Task
from floss_sim.training.model_card import base_reference

_MOST_CHARACTERS = 300  # of the library's message, which may have many lines
# Keys of a config that are not the file's to set: they are given here, or change what is returned.
_OWN_KEYS = ("model_type", "dtype", "torch_dtype", "num_labels", "auto_map", "return_dict")
# Buffers of older versions of the model library, which it computes itself.
_BUFFER = re.compile(
    r"(^|\.)(position_ids|inv_freq|masked_bias|relative_position_index|attn\.bias)$"
)


def load_backbone(task: Task) -> PreTrainedModel:
    """Return a task's backbone in float32 and evaluation mode, with a new head if it has labels.

    The config and the weights are those of :class:`BackboneFiles`: safetensors, in one file or in
    shards. Nothing else of the folder is read, neither an adapter nor code. The new head's random
    values do not matter: every layout with a head overwrites them. The config of a text model gets
    a padding token, see :func:`floss_sim.families.model_inputs.chosen_padding`.

    Raises:
        TaskError: The family does not support the task's kind, the folder cannot be loaded, or a
            weight of the backbone is missing, is not used, has a different shape, or is not finite.
        LayoutError: The model library cannot build the model, or a size in the config is invalid.
    """
    check_kind(task.backbone_config, task.kind)
    files = task.backbone_files
    files.check_weights(task.labels)
    try:
        with _silence_transformers(), ExitStack() as opened:
            config = _library_config(task)
            chosen = model_class(task.kind, config)
            model, report = chosen.from_pretrained(
                None,  # no folder: the library would also load an adapter that lies there
                config=config_of(chosen, config),
                state_dict=_slices(files.weight_files, opened),
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # replaces a stored head of other classes
                local_files_only=True,
                output_loading_info=True,
            )
    except Exception as error:  # a damaged folder can raise anything
        said = " ".join(str(error).split())[:_MOST_CHARACTERS] or type(error).__name__
        raise _refusal(task, said) from None
    head = head_paths(task)
    _check_report(task, report, head)
    if task.backbone_config["model_type"] not in FAMILIES:
        _check_unused(task, report["unexpected_keys"], model)
    for name, parameter in model.named_parameters():
        if not _is_below(name, head) and not torch.isfinite(parameter).all():
            raise _refusal(task, f"tensor {name!r} holds NaN or infinity")
    if task.kind != IMAGES:
        pad = model_inputs(task.backbone_config, task.kind).pad
        model.config.pad_token_id = model.config.get_text_config().pad_token_id = pad
    _freeze_statistics(model)
    model.name_or_path = model.config.name_or_path = base_reference(task)  # PEFT stores it
    return model.eval()


def _freeze_statistics(model: PreTrainedModel) -> None:
    """Keep batch norms in evaluation mode: their statistics are the backbone's and do not train."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.train = partial(_stay, module)  # type: ignore[method-assign]


def _stay(module: _BatchNorm, mode: bool = True) -> _BatchNorm:
    return module


def head_paths(task: Task) -> tuple[str, ...]:
    """Return the paths of the modules of a task's new head; none for next-token prediction.

    Raises:
        LayoutError: The model library cannot build the model.
    """
    family = FAMILIES.get(str(task.backbone_config.get("model_type")))
    if not task.labels:
        return ()
    return (family.head,) if family else table_of_config(task.backbone_config, task.kind).head


def _is_below(name: str, paths: Iterable[str]) -> bool:
    return any(name.startswith(f"{path}.") for path in paths)


def _library_config(task: Task) -> PretrainedConfig:
    """Return the model library's config of the content of ``config.json``."""
    stated = {key: value for key, value in task.backbone_config.items() if key not in _OWN_KEYS}
    if task.labels:
        stated["num_labels"] = task.labels
    return AutoConfig.for_model(
        task.backbone_config["model_type"], **{**stated, "dtype": torch.float32}
    )


def _slices(files: Iterable[Path], opened: ExitStack) -> dict[str, Any]:
    """Return all tensors of weight files as slices, which are read when they are used."""
    pointers = [opened.enter_context(safe_open(path, framework="pt")) for path in files]
    return {name: file.get_slice(name) for file in pointers for name in file.keys()}  # noqa: SIM118


def _check_report(task: Task, report: Mapping[str, Any], head: Iterable[str]) -> None:
    """Check the library's own report of what it loaded; a new head need not be stored.

    Raises:
        TaskError: A tensor of the backbone is missing, has a different shape or was not converted.
    """
    lacking = sorted(name for name in report["missing_keys"] if not _is_below(name, head))
    if lacking:
        raise _refusal(task, f"missing tensor {lacking[0]!r}{more_suffix(lacking)}")
    resized = sorted(m for m in report["mismatched_keys"] if not _is_below(m[0], head))
    if resized:
        name, found, expected = resized[0]
        shapes = f"has shape {tuple(found)}, expected {tuple(expected)}"
        raise _refusal(task, f"tensor {name!r} {shapes}{more_suffix([m[0] for m in resized])}")


def _check_unused(task: Task, names: Iterable[str], model: PreTrainedModel) -> None:
    """Check that the stored tensors that the library did not use are heads of other tasks.

    Raises:
        TaskError: An unused tensor belongs to a module that the backbone has, such as a layer
            beyond the config's number of layers.
    """
    base = model.base_model
    own = {name for name, _ in base.named_children()} if base is not model else set()
    prefix = f"{model.base_model_prefix}."
    unused = sorted(
        name
        for name in names
        if name.removeprefix(prefix).partition(".")[0] in own and not _BUFFER.search(name)
    )
    if unused:
        raise _refusal(task, f"the model does not use tensor {unused[0]!r}{more_suffix(unused)}")


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


def checkpoint_layers(backbone: PreTrainedModel) -> None:
    """Switch gradient checkpointing on: the backward pass recomputes each layer's activations.

    Raises:
        ConfigError: The backbone does not support it.
    """
    backbone.config.use_cache = False  # do not store keys and values either
    try:
        if hasattr(backbone, "activation_checkpointing_enable"):  # since transformers 5.23
            backbone.activation_checkpointing_enable()
        else:
            backbone.gradient_checkpointing_enable()
    except ValueError as error:
        raise ConfigError(f"client.gradient_checkpointing = true: {error}") from None
