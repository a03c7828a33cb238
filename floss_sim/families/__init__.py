"""Model families as data: names and shapes of their parameters.

Shapes are computed from the backbone's ``config.json`` alone; no training framework is needed.
"""

from floss_sim.families.family import IMAGES, KINDS, NEXT_TOKEN, TEXTS, Config, Family, ModuleSpec
from floss_sim.families.known import FAMILIES
from floss_sim.families.padding import padding_token
from floss_sim.families.stored import StoredTensor, find_weights_problem
from floss_sim.families.targets import ALL, check_kind, family_of, resolve_targets

__all__ = [
    "ALL",
    "FAMILIES",
    "IMAGES",
    "KINDS",
    "NEXT_TOKEN",
    "TEXTS",
    "Config",
    "Family",
    "ModuleSpec",
    "StoredTensor",
    "check_kind",
    "family_of",
    "find_weights_problem",
    "padding_token",
    "resolve_targets",
]
