"""Catalog of methods whose server changes the frozen weights: functions to a Method."""

from __future__ import annotations

from floss_sim.methods.backbone_changes import ExactResidual, Stacking
from floss_sim.methods.method import Method
from floss_sim.methods.selectors import SameMask
from floss_sim.methods.tensor_kinds import OfKinds, Turns
from floss_sim.methods.tier import Tier
from floss_sim.methods.top_k_selectors import TopK
from floss_sim.vectors.layout import HEAD_KINDS, LORA_A, LORA_B, MERGED

_ADAPTERS = Turns(TopK(1.0), ((LORA_A, LORA_B),))  # A, B and the head train in every round


def flora(merge_rate: float = 1.0) -> Method:
    """Return FLoRA (Wang et al. 2024): stacks of the clients' adapters are merged into the weights.

    Clients train new adapters in each round, with A drawn for the dispatch and B zero. They
    download the head, and the stacks of the rounds that they missed.

    Args:
        merge_rate: Factor of the merged mean product, above 0.

    Raises:
        ConfigError: A rate that is not above 0.
    """
    tier = Tier(1.0, OfKinds(TopK(1.0), HEAD_KINDS), SameMask(), _ADAPTERS)
    return Method("flora", (tier,), trains=MERGED, backbone_change=Stacking(merge_rate))


def fedex_lora(residual_rank: int | None = None) -> Method:
    """Return FedEx-LoRA (Singhal et al. 2025): what averaging leaves out goes into the weights.

    A, B and the head are averaged as in dense LoRA. The residual of the products changes the frozen
    weights; clients download the residuals of the rounds that they missed.

    Args:
        residual_rank: Singular values of a residual that are sent, the largest; None: all. With 0
            the method is dense LoRA.

    Raises:
        ConfigError: A number below 0.
    """
    download = OfKinds(TopK(1.0), (LORA_A, LORA_B, *HEAD_KINDS))
    tier = Tier(1.0, download, SameMask(), _ADAPTERS)
    change = ExactResidual(residual_rank)
    return Method("fedex-lora", (tier,), trains=MERGED, backbone_change=change)
