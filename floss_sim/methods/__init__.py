"""Federated fine-tuning methods as data: the entries that exist, travel and train.

The training loop is the same for every method; see :mod:`floss_sim.methods.method`.
"""

from floss_sim.methods.backbone_exchange import BackboneExchange
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
    feddpa,
    fedsa_lora,
    fedsrd,
    freezing,
    fslora,
    lora_a2,
    rolora,
)
from floss_sim.methods.catalog_of_backbones import fedex_lora, flora
from floss_sim.methods.catalog_of_layouts import fedkseed, ravan
from floss_sim.methods.catalog_of_products import fedsvd, flexlora, lora_fair
from floss_sim.methods.change_ledger import ChangeHistory
from floss_sim.methods.client_vectors import ClientVectors
from floss_sim.methods.corrected_mean_step import CorrectedMeanStep
from floss_sim.methods.differential_privacy import TRUSTS, DifferentialPrivacy
from floss_sim.methods.exchange import Exchange
from floss_sim.methods.kurtosis_selectors import KurtosisTopK
from floss_sim.methods.layer_freezing import ActiveLayers, LayerFreezing
from floss_sim.methods.mean_product_step import MeanProductStep
from floss_sim.methods.method import MessageSize, Method
from floss_sim.methods.one_factor_step import OneFactorStep
from floss_sim.methods.persistent_masks import FrozenMask, MaskHistory, MaskLedger, ShrinkingMask
from floss_sim.methods.predicted_sizes import WAYS, SizePredictor, Way
from floss_sim.methods.private_entries import PrivateEntries, PrivateKinds, PrivateRanks
from floss_sim.methods.product_steps import Contribution, Gradient, NewFactors, ProductStep
from floss_sim.methods.rank_selectors import Ranks, TopRanks
from floss_sim.methods.rebasing_step import RebasingStep
from floss_sim.methods.schedules import Moment, Schedule
from floss_sim.methods.segment_selectors import Segment, Segments
from floss_sim.methods.selectors import Everything, SameMask, Selector
from floss_sim.methods.shared_ranks import OfSharedRanks
from floss_sim.methods.tensor_kinds import OfKinds, Turns
from floss_sim.methods.tier import Tier
from floss_sim.methods.top_k_selectors import RandomK, TopK

__all__ = [
    "METHODS",
    "TRUSTS",
    "WAYS",
    "ActiveLayers",
    "BackboneExchange",
    "ChangeHistory",
    "ClientVectors",
    "Contribution",
    "CorrectedMeanStep",
    "DifferentialPrivacy",
    "Everything",
    "Exchange",
    "FrozenMask",
    "Gradient",
    "KurtosisTopK",
    "LayerFreezing",
    "MaskHistory",
    "MaskLedger",
    "MeanProductStep",
    "MessageSize",
    "Method",
    "Moment",
    "NewFactors",
    "OfKinds",
    "OfSharedRanks",
    "OneFactorStep",
    "PrivateEntries",
    "PrivateKinds",
    "PrivateRanks",
    "ProductStep",
    "RandomK",
    "Ranks",
    "RebasingStep",
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
    "feddpa",
    "fedex_lora",
    "fedkseed",
    "fedsa_lora",
    "fedsrd",
    "fedsvd",
    "flexlora",
    "flora",
    "floss",
    "floss_tiers",
    "freezing",
    "fslora",
    "hetlora",
    "lora_a2",
    "lora_fair",
    "method_from_name",
    "options_of",
    "ravan",
    "rolora",
    "sparse_adapter",
]
