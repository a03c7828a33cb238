"""Catalog of the methods whose servers average or factor products B A: functions to a Method."""

from __future__ import annotations

from floss_sim.methods.corrected_mean_step import CorrectedMeanStep
from floss_sim.methods.mean_product_step import MeanProductStep
from floss_sim.methods.method import Method
from floss_sim.methods.rebasing_step import RebasingStep
from floss_sim.methods.tensor_kinds import OfKinds, Turns
from floss_sim.methods.tier import Tier
from floss_sim.methods.tier_texts import rank_tiers
from floss_sim.methods.top_k_selectors import Pick, Scope, TopK, density_selector
from floss_sim.vectors.layout import HEAD_KINDS, LORA_B

_ALL_RANKS = "1:1/1"


def flexlora(tiers: str = _ALL_RANKS, product_rate: float = 1.0) -> Method:
    """Return FlexLoRA (Bai et al. 2024): the SVD of the mean product gives each tier its ranks.

    A client downloads, trains and uploads the leading ranks of every adapter, and the head. The
    server's optimiser moves the head alone.

    Args:
        tiers: ``share:ranks`` for each tier, such as ``"1:16,2:4"``, or fractions of the run's
            rank, such as ``"1:1/1,2:1/4"``; shares are scaled to add up to 1.
        product_rate: Part of the mean in the server's new product, in (0, 1]; 1: the paper's.

    Raises:
        ConfigError: Tiers that cannot be read, or a rate out of range.
    """
    step = MeanProductStep(product_rate)
    return Method("flexlora", rank_tiers(tiers, "first", _ALL_RANKS), product_step=step)


def lora_fair(
    down_density: float = 1.0,
    up_density: float = 1.0,
    penalty: float = 0.01,
    scope: Scope = "global",
    pick: Pick = "largest",
    dense_head: bool = False,
) -> Method:
    """Return LoRA-FAIR (Bian et al. 2025): means of A and B, and B corrected on the server.

    Args:
        down_density: Density of downloads, in (0, 1].
        up_density: Density of uploads, in (0, 1].
        penalty: Penalty of the squared correction, above 0; the higher, the nearer to dense LoRA.
        scope: Range of the ranking: ``"global"`` or ``"tensor"``.
        pick: Entries to keep: ``"largest"`` magnitudes or ``"random"``.
        dense_head: Whether the whole task head is kept.

    Raises:
        DensityError: A density outside (0, 1].
        ConfigError: An unknown scope or pick, or a penalty out of range.
    """
    down, up = (density_selector(d, scope, pick, dense_head) for d in (down_density, up_density))
    return Method("lora-fair", (Tier(1.0, down, up),), product_step=CorrectedMeanStep(penalty))


def fedsvd(
    down_density: float = 1.0,
    up_density: float = 1.0,
    rebase_every: int = 1,
    scope: Scope = "global",
    pick: Pick = "largest",
    dense_head: bool = False,
) -> Method:
    """Return FedSVD (Lee et al. 2025): B trains, and the server renews A by the SVD of B A.

    Args:
        down_density: Density of downloads, in (0, 1].
        up_density: Density of uploads among B and the head, in (0, 1].
        rebase_every: Rounds from one renewal of A to the next; 0: never.
        scope: Range of the ranking: ``"global"`` or ``"tensor"``.
        pick: Entries to keep: ``"largest"`` magnitudes or ``"random"``.
        dense_head: Whether the whole task head is kept.

    Raises:
        DensityError: A density outside (0, 1].
        ConfigError: An unknown scope or pick, or a negative number of rounds.
    """
    down, up = (density_selector(d, scope, pick, dense_head) for d in (down_density, up_density))
    upload = OfKinds(up, (LORA_B, *HEAD_KINDS))
    tier = Tier(1.0, down, upload, Turns(TopK(1.0), ((LORA_B,),)))
    return Method(
        "fedsvd", (tier,), product_step=RebasingStep(rebase_every) if rebase_every else None
    )
