"""Federated fine-tuning methods as data: the entries that exist, travel and train.

The training loop is the same for every method; see :mod:`floss_sim.methods.method`.
"""

from floss_sim.methods.catalog import (
    METHODS,
    adapter_lth,
    dense,
    floss,
    floss_tiers,
    hetlora,
    method_from_name,
    options_of,
    sparse_adapter,
)
from floss_sim.methods.catalog_by_round import (
    ecolora,
    fedsa_lora,
    fedsrd,
    freezing,
    fslora,
    lora_a2,
    rolora,
)
from floss_sim.methods.catalog_of_layouts import fedkseed, ravan
from floss_sim.methods.change_ledger import ChangeHistory
from floss_sim.methods.client_vectors import ClientVectors
from floss_sim.methods.exchange import Exchange
from floss_sim.methods.kurtosis_selectors import KurtosisTopK
from floss_sim.methods.layer_freezing import ActiveLayers, LayerFreezing
from floss_sim.methods.method import MessageSize, Method
from floss_sim.methods.persistent_masks import FrozenMask, MaskHistory, MaskLedger, ShrinkingMask
from floss_sim.methods.predicted_sizes import WAYS, SizePredictor, Way
from floss_sim.methods.private_entries import PrivateEntries
from floss_sim.methods.product_steps import Contribution, ProductStep
from floss_sim.methods.rank_selectors import Ranks, TopRanks
from floss_sim.methods.schedules import Moment, Schedule
from floss_sim.methods.segment_selectors import Segment, Segments
from floss_sim.methods.selectors import Everything, SameMask, Selector
from floss_sim.methods.tensor_kinds import OfKinds, Turns
from floss_sim.methods.tier import Tier
from floss_sim.methods.top_k_selectors import RandomK, TopK

__all__ = [
    "METHODS",
    "WAYS",
    "ActiveLayers",
    "ChangeHistory",
    "ClientVectors",
    "Contribution",
    "Everything",
    "Exchange",
    "FrozenMask",
    "KurtosisTopK",
    "LayerFreezing",
    "MaskHistory",
    "MaskLedger",
    "MessageSize",
    "Method",
    "Moment",
    "OfKinds",
    "PrivateEntries",
    "ProductStep",
    "RandomK",
    "Ranks",
    "SameMask",
    "Schedule",
    "Segment",
    "Segments",
    "Selector",
    "ShrinkingMask",
    "SizePredictor",
    "Tier",
    "TopK",
    "TopRanks",
    "Turns",
    "Way",
    "adapter_lth",
    "dense",
    "ecolora",
    "fedkseed",
    "fedsa_lora",
    "fedsrd",
    "floss",
    "floss_tiers",
    "freezing",
    "fslora",
    "hetlora",
    "lora_a2",
    "method_from_name",
    "options_of",
    "ravan",
    "rolora",
    "sparse_adapter",
]
