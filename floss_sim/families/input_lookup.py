"""Lookup of what a backbone reads, and check of the task kind.

Known families (:data:`floss_sim.families.FAMILIES`) have their inputs by arithmetic. For others the
model library is asked, which takes some seconds the first time; the answer is cached.
"""

from __future__ import annotations

from floss_sim.errors import TaskError
from floss_sim.families.family import Config
from floss_sim.families.known import FAMILIES
from floss_sim.families.layout_cache import ask_once
from floss_sim.families.model_inputs import ModelInputs, family_inputs


def model_inputs(config: Config, kind: str) -> ModelInputs:
    """Return what a model reads.

    Args:
        config: The content of ``config.json``.
        kind: The task kind, one of :data:`floss_sim.families.KINDS`.

    Raises:
        LayoutError: A size in the config is invalid, or the model library cannot build the model.
    """
    family = FAMILIES.get(str(config.get("model_type")))
    if family and kind in family.kinds:
        return family_inputs(family, config, kind)

    def ask() -> ModelInputs:
        from floss_sim.families.library_models import library_inputs

        return library_inputs(config, kind)

    return ask_once({"inputs": config, "kind": kind}, ModelInputs, ask)


def check_kind(config: Config, kind: str) -> None:
    """Check that a backbone can be trained on a task kind.

    Raises:
        LayoutError: The model library does not know the family or has no model of this kind for
            it, or a size in the config is invalid.
        TaskError: A known family does not support this task kind, or the model is an
            encoder-decoder model.
    """
    family = FAMILIES.get(str(config.get("model_type")))
    if family and kind not in family.kinds:
        raise TaskError(
            f"a {config['model_type']} backbone does not support {kind}; "
            f"valid: {', '.join(family.kinds)}"
        )
    if not family and model_inputs(config, kind).encoder_decoder:
        raise TaskError(
            f"a {config['model_type']} backbone is an encoder-decoder model, which is not trained "
            "here; valid: encoders, and decoders that predict the next token"
        )
