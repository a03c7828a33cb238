"""Catalog of the methods whose layouts have settings of their own."""

from __future__ import annotations

from floss_sim.methods.method import Method
from floss_sim.methods.selectors import Everything
from floss_sim.methods.tier import Tier
from floss_sim.methods.top_k_selectors import Pick, Scope, density_selector
from floss_sim.methods.zeroth_order import SteppedSeeds, ZerothOrder
from floss_sim.vectors.layout import SEEDS


def ravan(
    heads: int = 4,
    down_density: float = 1.0,
    up_density: float = 1.0,
    scope: Scope = "global",
    pick: Pick = "largest",
    dense_head: bool = False,
) -> Method:
    """Return Ravan (Raje et al. 2025): several heads s_i B_i H_i A_i, of which s_i and H_i train.

    B_i and A_i are frozen. A client uploads the products s_i H_i, and s_i starts at one again.

    Args:
        heads: Number of heads; the run's rank is that of all of them together.
        down_density: Density of downloads, in (0, 1].
        up_density: Density of uploads, in (0, 1].
        scope: Range of the ranking: ``"global"`` or ``"tensor"``.
        pick: Entries to keep: ``"largest"`` magnitudes or ``"random"``.
        dense_head: Whether the whole task head is kept.

    Raises:
        DensityError: A density outside (0, 1].
        ConfigError: An unknown scope or pick, or no whole number of heads from 1.
    """
    down, up = (density_selector(d, scope, pick, dense_head) for d in (down_density, up_density))
    return Method("ravan", (Tier(1.0, down, up),), trains="heads", heads=heads)


def fedkseed(
    seeds: int = 4096, steps: int = 200, epsilon: float = 5e-4, rate: float = 0.0
) -> Method:
    """Return FedKSeed (Qin et al. 2024): scalars along seeded directions of the whole model.

    The server averages the scalars, whatever its optimiser.

    Args:
        seeds: Number of directions.
        steps: Local steps of a client, each along another direction.
        epsilon: Distance from the weights at which a step measures the loss, in directions.
        rate: Learning rate along a direction; 0: the client's learning rate.

    Raises:
        ConfigError: A number is out of range.
    """
    tier = Tier(1.0, Everything(), SteppedSeeds(steps))
    trained = ZerothOrder(seeds, steps, epsilon, rate)
    return Method("fedkseed", (tier,), trains=SEEDS, zeroth_order=trained)
