"""Model families as data: names and shapes of their parameters.

Shapes are computed from the backbone's ``config.json`` alone; no training framework is needed.
"""

from floss_sim.families.family import IMAGES, KINDS, NEXT_TOKEN, TEXTS, Config, Family, ModuleSpec
from floss_sim.families.input_lookup import check_kind, model_inputs
from floss_sim.families.known import FAMILIES
from floss_sim.families.model_inputs import ModelInputs
from floss_sim.families.stored import StoredTensor, find_weights_problem
from floss_sim.families.targets import ALL, family_of, resolve_targets

__all__ = [
    "ALL",
    "FAMILIES",
    "IMAGES",
    "KINDS",
    "NEXT_TOKEN",
    "TEXTS",
    "Config",
    "Family",
    "ModelInputs",
    "ModuleSpec",
    "StoredTensor",
    "check_kind",
    "family_of",
    "find_weights_problem",
    "model_inputs",
    "resolve_targets",
]
