"""Models of the model library, built on the meta device from a ``config.json``: no weights.

A model of 7 billion parameters takes 0.1 to 0.4 s. Code that a config names (``auto_map``) is never
run: the library's own class of this ``model_type`` is used.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
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

from floss_sim.errors import LayoutError
from floss_sim.families.config_sizes import unstated_sizes
from floss_sim.families.family import IMAGES, NEXT_TOKEN, TEXTS, Config
from floss_sim.families.model_inputs import PADDING_KEYS, ModelInputs, chosen_padding

_MODEL_CLASSES: Mapping[str, Mapping[Any, Any]] = {  # by class of the config
    IMAGES: MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    TEXTS: MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    NEXT_TOKEN: MODEL_FOR_CAUSAL_LM_MAPPING,
}
_ENCODER_DECODERS = (MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING, MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING)
_OWN_KEYS = ("model_type", "dtype", "torch_dtype", "num_labels", "auto_map", "return_dict",
             "quantization_config", "architectures", "id2label", "label2id")  # fmt: skip
_POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len")
_MOST_CHARACTERS = 200  # of the library's own message


def library_config(config: Config, labels: int) -> PretrainedConfig:
    """Return the library's config of the content of a ``config.json``.

    Args:
        config: The content of ``config.json``; its ``model_type`` is one of the library's.
        labels: Number of classes; 0 for next-token prediction.
    """
    stated = {key: value for key, value in config.items() if key not in _OWN_KEYS}
    if labels:
        stated["num_labels"] = labels
    return AutoConfig.for_model(str(config["model_type"]), **stated)


def model_class(kind: str, library: PretrainedConfig) -> Any:
    """Return the library's class of a model of a task kind; None if there is none.

    An encoder-decoder model such as T5 or Whisper predicts tokens with both stacks.
    """
    mappings = [_MODEL_CLASSES[kind]]
    if kind == NEXT_TOKEN:
        mappings = [*_ENCODER_DECODERS, *mappings, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING]
    found = (mapping.get(type(library), None) for mapping in mappings)
    classes = next((classes for classes in found if classes is not None), None)
    return classes[0] if isinstance(classes, tuple | list) else classes


def config_of(chosen: Any, library: PretrainedConfig) -> PretrainedConfig:
    """Return the config that a class takes: of some models the part for texts alone.

    The library's own ``AutoModelForCausalLM`` follows the same rule.
    """
    text = library.sub_configs.get("text_config")
    if text is not None and chosen.config_class is text:
        return library.get_text_config()
    return library


def build_empty(config: Config, kind: str, labels: int) -> PreTrainedModel:
    """Return a model without weights, on the meta device.

    Raises:
        LayoutError: The library does not know the model type or has no model of this kind for it,
            the config lacks a main size, or the library cannot build the model.
    """
    model_type = config.get("model_type")
    if model_type is None:
        raise LayoutError("the config has no model_type")
    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
        custom = " and comes with its own code" if config.get("auto_map") else ""
        raise LayoutError(
            f"the installed model library has no model type {str(model_type)[:60]!r}: "
            f"the config is of a newer model{custom}; code of a model is never run here"
        )
    with refusals(config, f"a {kind} model of"):
        library = library_config(config, labels)
        chosen = model_class(kind, library)
        if chosen is None:
            raise LayoutError(f"a {model_type} backbone does not support {kind}")
        unstated_sizes(library, config)
        with torch.device("meta"):
            model: PreTrainedModel = chosen(config_of(chosen, library))
    return model


def library_inputs(config: Config, kind: str) -> ModelInputs:
    """Return what a model reads, from the library's model and its config.

    Raises:
        LayoutError: As for :func:`build_empty`.
    """
    model = build_empty(config, kind, 0 if kind == NEXT_TOKEN else 2)
    own = model.config
    if kind == IMAGES:
        vision = getattr(own, "vision_config", None) or own
        return ModelInputs(
            channels=getattr(vision, "num_channels", 3),
            sides=_sides(vision),
            patch=_sides(vision, "patch_size") or (16, 16),
        )
    text = own.get_text_config()
    words = int(text.vocab_size)
    token, key = chosen_padding({k: getattr(text, k, None) for k in PADDING_KEYS}, words)
    return ModelInputs(
        words=words,
        positions=_positions(model, text),
        pad=token,
        pad_key=key,
        encoder_decoder=bool(getattr(own, "is_encoder_decoder", False)),
    )


def _sides(config: PretrainedConfig, key: str = "image_size") -> tuple[int, int] | None:
    """Return height and width that a key states, in pixels; None if it states none."""
    value = getattr(config, key, None)
    sides = value if isinstance(value, list | tuple) else [value, value]
    whole = [side for side in sides if isinstance(side, int)]
    return (whole[0], whole[1]) if len(sides) == len(whole) == 2 else None


def _positions(model: PreTrainedModel, text: PretrainedConfig) -> int | None:
    """Return the longest text that a model reads, in tokens; None if there is no limit.

    Some families, such as RoBERTa, number positions from the padding token on.
    """
    stated = next((n for key in _POSITIONS if type(n := getattr(text, key, None)) is int), None)
    tables = (m for path, m in model.named_modules() if path.endswith("position_embeddings"))
    padded = (m for m in tables if isinstance(m, nn.Embedding) and m.padding_idx is not None)
    limits = [m.num_embeddings - (m.padding_idx or 0) - 1 for m in padded]
    return min(limits) if limits else max(stated or 0, 0) or None


@contextmanager
def refusals(config: Config, what: str) -> Iterator[None]:
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
