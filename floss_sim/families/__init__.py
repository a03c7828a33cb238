"""Model families as data: what their parameters are called, and which shapes a config gives them.

No framework is needed: everything follows from the backbone's ``config.json``.
"""

from floss_sim.families.family import IMAGES, KINDS, NEXT_TOKEN, TEXTS, Config, Family, ModuleSpec
from floss_sim.families.known import FAMILIES
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
    "check_kind",
    "family_of",
    "resolve_targets",
]
