"""Catalog of methods that choose by round, kind of tensor or dispatch: functions to a Method."""

from __future__ import annotations

from floss_sim.errors import ConfigError
from floss_sim.methods.kurtosis_selectors import KurtosisTopK
from floss_sim.methods.layer_freezing import LayerFreezing
from floss_sim.methods.method import Divisor, Method
from floss_sim.methods.one_factor_step import OneFactorStep
from floss_sim.methods.private_entries import PrivateKinds, PrivateRanks
from floss_sim.methods.rank_selectors import Ranks, TopRanks
from floss_sim.methods.segment_selectors import Segments
from floss_sim.methods.selectors import Everything, SameMask
from floss_sim.methods.shared_ranks import OfSharedRanks
from floss_sim.methods.tensor_kinds import OfKinds, Turns
from floss_sim.methods.tier import Tier
from floss_sim.methods.top_k_selectors import Pick, Scope, TopK, density_selector
from floss_sim.vectors.density import parse_density
from floss_sim.vectors.layout import HEAD_KINDS, LORA_A, LORA_B


def rolora(
    down_density: float = 1.0,
    up_density: float = 1.0,
    scope: Scope = "global",
    pick: Pick = "largest",
    dense_head: bool = False,
) -> Method:
    """Return RoLoRA (Chen et al. 2025): B trains in odd rounds, A in even ones, the head in all.

    A client downloads both, because it may have missed rounds; it uploads what it trained. The
    server's step moves nothing else.

    Args:
        down_density: Density of downloads, in (0, 1].
        up_density: Density of uploads among the entries that train, in (0, 1].
        scope: Range of the ranking: ``"global"`` or ``"tensor"``.
        pick: Entries to keep: ``"largest"`` magnitudes or ``"random"``.
        dense_head: Whether the whole task head is kept.

    Raises:
        DensityError: A density outside (0, 1].
        ConfigError: An unknown scope or pick.
    """
    down, up = (density_selector(d, scope, pick, dense_head) for d in (down_density, up_density))
    return Method("rolora", (Tier(1.0, down, Turns(up), Turns(TopK(1.0))),))


def fslora(density: float = 0.25, divisor: Divisor = "cohort") -> Method:
    """Return FSLoRA (Fang et al. 2025): each dispatch has some ranks, drawn at random.

    A client downloads, trains and uploads these ranks and the head. While it trains, LoRA's scale
    is multiplied by rank / kept ranks.

    Args:
        density: Fraction of every adapter's ranks, in (0, 1].
        divisor: Clients over which an entry is averaged: ``"cohort"`` (all) or ``"covering"``
            (those that trained it).

    Raises:
        DensityError: A density outside (0, 1].
        ConfigError: An unknown divisor.
    """
    sketch = Ranks(parse_density(density), "random")
    return Method("fslora", (Tier(1.0, sketch, SameMask()),), divisor=divisor)


def lora_a2(down_density: float = 1.0, up_density: float = 0.25) -> Method:
    """Return LoRA-A2 (Koo et al. 2025): B and A in turns; clients upload their best ranks.

    A client ranks all rows of A, or columns of B, by how much their update changes the product.

    Args:
        down_density: Density of downloads, in (0, 1].
        up_density: Fraction of the ranks of all adapters that is uploaded, in (0, 1].

    Raises:
        DensityError: A density outside (0, 1].
    """
    upload = Turns(TopRanks(up_density))
    tier = Tier(1.0, TopK(down_density), upload, Turns(TopK(1.0)))
    return Method("lora-a2", (tier,), ranking="product")


def ecolora(
    segments: int = 5,
    down_density: float = 1.0,
    up_density: float = 0.5,
    a_density: float | None = None,
    half_life: float = 10.0,
) -> Method:
    """Return EcoLoRA (Liu et al. 2025): clients of a round upload different segments, thinned.

    Error feedback is on: what a client does not send of its segment is added to its next update. An
    entry is averaged over the clients that sent its segment.

    Args:
        segments: Number of segments of the vector.
        down_density: Density of downloads, in (0, 1].
        up_density: Density of B and the head within a segment in the end, in (0, 1].
        a_density: Density of A in the end; None: 1.2 times the former, at most 1.
        half_life: Rounds after which densities have fallen half of the way from 1.

    Raises:
        DensityError: A density outside (0, 1].
        ConfigError: A number of segments below 1, or a half-life that is not finite and above 0.
    """
    a_density = min(1.0, 1.2 * parse_density(up_density)) if a_density is None else a_density
    upload = Segments(segments, a_density, up_density, half_life)
    tier = Tier(1.0, TopK(down_density), upload)
    return Method("ecolora", (tier,), error_feedback=True, divisor="covering")


def fedsa_lora(down_density: float = 1.0, up_density: float = 1.0) -> Method:
    """Return FedSA-LoRA (Guo et al. 2025): A and the head are shared; each client keeps its B.

    All three train. B is a state of the client, from one participation to the next.

    Args:
        down_density: Density of downloads, in (0, 1].
        up_density: Density of uploads, in (0, 1].

    Raises:
        DensityError: A density outside (0, 1].
    """
    down, up = (OfKinds(TopK(d), (LORA_A, *HEAD_KINDS)) for d in (down_density, up_density))
    return Method("fedsa-lora", (Tier(1.0, down, up),), private=PrivateKinds((LORA_B,)))


def feddpa(
    private_rank: int | None = None,
    together: bool = False,
    down_density: float = 1.0,
    up_density: float = 1.0,
) -> Method:
    """Return FedDPA (Yang et al. 2024): a shared adapter, and a second one that each client keeps.

    The run's rank is that of the shared adapter; LoRA's scale of both is alpha / (the run's rank).
    In turns (FedDPA-T), a client trains its own adapter beside the frozen shared one, and the
    shared one and the head without its own, each for the local epochs.

    Args:
        private_rank: Rank of the private adapter; None: that of the shared one; 0: dense LoRA.
        together: Whether the adapters train together, in one pass; otherwise in turns.
        down_density: Density of downloads among shared entries, in (0, 1].
        up_density: Density of uploads among shared entries, in (0, 1].

    Raises:
        DensityError: A density outside (0, 1].
        ConfigError: A rank below 0.
    """
    if private_rank == 0:
        return Method("feddpa", (Tier(1.0, TopK(down_density), TopK(up_density)),))
    if private_rank is not None and private_rank < 0:
        raise ConfigError(f"private rank {private_rank}; valid: whole numbers from 0")
    down, up = (OfSharedRanks(TopK(d), private_rank) for d in (down_density, up_density))
    private = PrivateRanks(private_rank, together)
    return Method("feddpa", (Tier(1.0, down, up),), private=private)


def freezing(freeze_every: int = 10, density: float = 0.25) -> Method:
    """Return layer freezing: every few rounds the layer with the smallest updates stops training.

    Args:
        freeze_every: Rounds after which one more layer freezes, at least 1.
        density: Fraction of the layers that never freezes, in (0, 1].

    Raises:
        DensityError: A fraction outside (0, 1].
        ConfigError: A number of rounds below 1.
    """
    trained = LayerFreezing(freeze_every, density)
    return Method("freezing", (Tier(1.0, Everything(), SameMask(), trained),))


def fedsrd(down_density: float = 1.0, up_density: float = 0.25) -> Method:
    """Return FedSRD (Yan et al. 2025): uploads and server steps by their effect on products.

    Args:
        down_density: Fraction of a factor's entries that a server step moves, drawn at random and
            scaled up, in (0, 1].
        up_density: Density of uploads, in (0, 1], divided among tensors by their kurtosis.

    Raises:
        DensityError: A density outside (0, 1].
    """
    tier = Tier(1.0, Everything(), KurtosisTopK(up_density))
    step = OneFactorStep(down_density)
    return Method("fedsrd", (tier,), ranking="product", product_step=step)
