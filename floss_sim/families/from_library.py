"""Model tables and trained tensors from the model library and PEFT, on the meta device.

The one module of this package that imports torch, transformers and PEFT. No weights are loaded
and none are allocated: a model of 7 billion parameters takes 0.1 to 0.4 s. Code that a config names
(``auto_map``) is never run: the library's own class of this ``model_type`` is used.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING,
    AutoConfig,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers import logging as transformers_logging
from transformers.pytorch_utils import Conv1D

from floss_sim.errors import LayoutError
from floss_sim.families.adapter_settings import ALL_LINEAR, AdapterSettings
from floss_sim.families.config_sizes import unstated_sizes
from floss_sim.families.experts import patterned_parameters
from floss_sim.families.family import IMAGES, NEXT_TOKEN, TEXTS, Config
from floss_sim.families.model_table import (
    CONV1D,
    CONV2D,
    EMBEDDING,
    LABELS,
    LINEAR,
    ModelTable,
    Shape,
)
from floss_sim.families.peft_names import tensor_of_name, values_by_path
from floss_sim.families.target_modules import resolve_modules
from floss_sim.families.trained_tensors import TrainedModel, check_rank, whole_tensors

MODEL_CLASSES: Mapping[str, Mapping[Any, Any]] = {  # by class of the config
    IMAGES: MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    TEXTS: MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    NEXT_TOKEN: MODEL_FOR_CAUSAL_LM_MAPPING,
}
_ENCODER_DECODERS = (MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING, MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING)
_ADAPTABLE = ((Conv1D, CONV1D), (nn.Linear, LINEAR), (nn.Conv2d, CONV2D), (nn.Embedding, EMBEDDING))
_OWN_KEYS = ("model_type", "dtype", "torch_dtype", "num_labels", "auto_map", "return_dict",
             "quantization_config", "architectures", "id2label", "label2id")  # fmt: skip
_HEADS = ("classifier", "score", "pre_classifier", "pooler", "head")  # new modules by name
_MARK = 100_003  # classes of a model that is built for its table; no side of a model is as long
_MOST_CHARACTERS = 200  # of the library's own message


def model_table(config: Config, kind: str) -> ModelTable:
    """Return the table of a model, built on the meta device from its ``config.json``.

    Args:
        config: The content of ``config.json``.
        kind: The task kind, one of :data:`floss_sim.families.KINDS`.

    Raises:
        LayoutError: The library does not know the model type or has no model of this kind for it,
            the config lacks a main size, or the library cannot build the model.
    """
    model = _build(config, kind, 0 if kind == NEXT_TOKEN else _MARK)
    head = () if kind == NEXT_TOKEN else _new_modules(model)
    if kind != NEXT_TOKEN and any(_MARK in p.shape for name, p in model.named_parameters()
                                  if name.partition(".")[0] not in head):  # fmt: skip
        raise LayoutError(f"the head of a {config['model_type']} model of {kind} is not known here")
    output = model.get_output_embeddings() if kind == NEXT_TOKEN else None
    output_path = next((path for path, module in model.named_modules() if module is output), "")
    modules = dict(_adaptable(model, output_path))
    own = dict(model.named_parameters())
    return ModelTable(
        model_type=str(config["model_type"]),
        parameters={
            name: _marked(p.shape, name.partition(".")[0] in head) for name, p in own.items()
        },
        modules=modules,
        head=head,
        output=output_path,
        tied={
            path: tuple(model.get_parameter(f"{path}.weight").shape)
            for path in modules
            if path != output_path and f"{path}.weight" not in own
        },
        defaults=unstated_sizes(_library_config(config, 0), config),
    )


def _marked(shape: Sequence[int], in_head: bool) -> Shape:
    """Return a shape; in a new head, the side of the classes is ``LABELS``."""
    return tuple(LABELS if in_head and side == _MARK else side for side in shape)


def peft_model(config: Config, kind: str, labels: int, settings: AdapterSettings) -> TrainedModel:
    """Return a model with the tensors that PEFT trains, in PEFT's order.

    Args:
        config: The content of ``config.json``.
        kind: The task kind.
        labels: Number of classes of the new head; 0 for next-token prediction.
        settings: The adapters.

    Raises:
        LayoutError: As for :func:`model_table`, a target matches nothing, or PEFT refuses them.
    """
    table = model_table(config, kind)
    paths = resolve_modules(table, settings)
    whole_tensors(table, settings)
    for path in paths:
        check_rank(table, settings, path)
    whole = settings.layers is None and settings.depth is None
    targets: Any = ALL_LINEAR if whole and settings.targets == (ALL_LINEAR,) else list(paths)
    model = _build(config, kind, labels)
    with _refusals(config, "adapters on"), torch.device("meta"):
        adapted = get_peft_model(model, _lora_config(table, settings, targets, paths))
    tensors = tuple(
        tensor_of_name(name, tuple(parameter.shape))
        for name, parameter in adapted.named_parameters()
        if parameter.requires_grad
    )
    return TrainedModel(table.model_type, table.with_labels(labels).entries, table.head, tensors)


def _lora_config(
    table: ModelTable, settings: AdapterSettings, targets: Any, paths: Sequence[str]
) -> LoraConfig:
    ranked = (*paths, *patterned_parameters(table, settings))
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        use_rslora=settings.rslora,
        use_dora=settings.dora,
        target_modules=targets,
        # PEFT matches expressions without a limit of time; whole paths say the same.
        rank_pattern=values_by_path(ranked, settings.rank_pattern, settings.rank_of),
        alpha_pattern=values_by_path(paths, settings.alpha_pattern, settings.alpha_of),
        modules_to_save=[*table.head, *settings.modules_to_save] or None,
        bias=settings.bias,
        lora_bias=settings.lora_bias,
        fan_in_fan_out=any(table.modules[path] == CONV1D for path in paths),
    )


def _build(config: Config, kind: str, labels: int) -> PreTrainedModel:
    """Return a model without weights."""
    model_type = config.get("model_type")
    if model_type is None:
        raise LayoutError("the config has no model_type")
    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
        custom = " and comes with its own code" if config.get("auto_map") else ""
        raise LayoutError(
            f"the installed model library has no model type {str(model_type)[:60]!r}: "
            f"the config is of a newer model{custom}; code of a model is never run here"
        )
    with _refusals(config, f"a {kind} model of"):
        library_config = _library_config(config, labels)
        found = _model_class(kind, type(library_config))
        if found is None:
            raise LayoutError(f"a {model_type} backbone does not support {kind}")
        unstated_sizes(library_config, config)
        chosen = found[0] if isinstance(found, tuple | list) else found
        with torch.device("meta"):
            model: PreTrainedModel = chosen(_config_of(chosen, library_config))
    return model


def _model_class(kind: str, config_class: type) -> Any:
    """Return the class of a model, or a list that begins with it; None if there is none.

    An encoder-decoder model such as T5 or Whisper predicts tokens with both stacks.
    """
    mappings = [MODEL_CLASSES[kind]]
    if kind == NEXT_TOKEN:
        mappings = [*_ENCODER_DECODERS, *mappings, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING]
    found = (mapping.get(config_class, None) for mapping in mappings)
    return next((classes for classes in found if classes is not None), None)


def _config_of(model_class: Any, library_config: PretrainedConfig) -> PretrainedConfig:
    """Return the config that a class takes: of some models the part for texts alone.

    The library's own ``AutoModelForCausalLM`` follows the same rule.
    """
    text = library_config.sub_configs.get("text_config")
    if text is not None and model_class.config_class is text:
        return library_config.get_text_config()
    return library_config


def _library_config(config: Config, labels: int) -> PretrainedConfig:
    stated = {key: value for key, value in config.items() if key not in _OWN_KEYS}
    if labels:
        stated["num_labels"] = labels
    return AutoConfig.for_model(str(config["model_type"]), **stated)


def _adaptable(model: nn.Module, output: str) -> Iterator[tuple[str, str]]:
    """Yield path and class of the modules that PEFT can adapt; tied: embeddings and the output."""
    own = {name for name, _ in model.named_parameters()}
    for path, module in model.named_modules():
        kind = next((kind for classes, kind in _ADAPTABLE if isinstance(module, classes)), None)
        if kind and (path == output or kind == EMBEDDING or f"{path}.weight" in own):
            yield path, kind


def _new_modules(model: PreTrainedModel) -> tuple[str, ...]:
    """Return the modules outside the backbone that hold parameters: the new head."""
    return tuple(
        name
        for name, child in model.named_children()
        if any(True for _ in child.parameters())
        and (name in _HEADS or any(_MARK in p.shape for p in child.parameters()))
    )


@contextmanager
def _refusals(config: Config, what: str) -> Iterator[None]:
    """Turn an error of the libraries into one line, and silence their warnings.

    Raises:
        LayoutError: The libraries raised an error.
    """
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except LayoutError:
        raise
    except Exception as error:  # a config may hold anything, and the libraries raise anything
        said = " ".join(str(error).split())[:_MOST_CHARACTERS] or type(error).__name__
        raise LayoutError(
            f"the model library cannot build {what} {config.get('model_type')}: {said}"
        ) from None
    finally:
        transformers_logging.set_verbosity(verbosity)
