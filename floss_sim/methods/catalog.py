"""Catalog of the methods: functions from options to a Method, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any, Literal

from floss_sim.errors import ConfigError
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
from floss_sim.methods.method import Divisor, Method
from floss_sim.methods.persistent_masks import FrozenMask, ShrinkingMask
from floss_sim.methods.selectors import Everything, SameMask
from floss_sim.methods.tier import Tier
from floss_sim.methods.tier_texts import parse_tiers, rank_tiers
from floss_sim.methods.top_k_selectors import Pick, Scope, density_selector
from floss_sim.vectors.density import parse_density

DEFAULT_TIERS = "1:1:1,1:1/4:1/4,1:1/16:1/16"  # factors of 4, as in FLASC's study of heterogeneity
DEFAULT_RANKS = "1:1/1,1:1/4,1:1/16"
_ONE_TIER = (Tier(1.0, Everything(), SameMask()),)  # the tier of a method with a persistent mask


def dense() -> Method:
    """Return dense LoRA: every entry travels both ways.

    Example:
        >>> from floss_sim import dense
        >>> dense().name
        'dense'
    """
    return Method("dense", (Tier(1.0, Everything(), Everything()),))


def floss(
    down_density: float = 1.0,
    up_density: float = 1.0,
    scope: Scope = "global",
    pick: Pick = "largest",
    dense_head: bool = False,
) -> Method:
    """Return FLoSS with a download and an upload density, each in (0, 1].

    Raises:
        DensityError: A density outside (0, 1].
        ConfigError: An unknown scope or pick.

    Example:
        >>> from floss_sim import floss
        >>> floss(1 / 4, 1 / 16).describe()
        'down 1/4, up 1/16'
    """
    down, up = (density_selector(d, scope, pick, dense_head) for d in (down_density, up_density))
    return Method("floss", (Tier(1.0, down, up),))


def floss_tiers(
    tiers: str = DEFAULT_TIERS,
    scope: Scope = "global",
    pick: Pick = "largest",
    dense_head: bool = False,
) -> Method:
    """Return FLoSS with different densities for each tier of clients.

    Args:
        tiers: ``share:down:up`` for each tier, such as ``"1:1:1,2:1/4:1/16"``; shares are scaled to
            add up to 1.
        scope: Range of the ranking: ``"global"`` (whole vector) or ``"tensor"`` (each tensor).
        pick: Entries to keep: ``"largest"`` magnitudes or ``"random"``.
        dense_head: Whether the whole task head is kept.

    Raises:
        DensityError: A density outside (0, 1].
        ConfigError: Tiers that cannot be read, or an unknown scope or pick.
    """
    parts = [
        (share, *(density_selector(parse_density(d), scope, pick, dense_head) for d in densities))
        for share, *densities in parse_tiers(tiers, ("share", "down", "up"), DEFAULT_TIERS)
    ]
    return Method("floss-tiers", tuple(Tier(share, down, up) for share, down, up in parts))


def hetlora(
    tiers: str = DEFAULT_RANKS,
    which: Literal["first", "largest"] = "first",
    divisor: Divisor = "cohort",
) -> Method:
    """Return HetLoRA (Cho et al. 2024): tiers of ranks, with scaling alpha / (the run's rank).

    A client downloads, trains and uploads some ranks of every adapter, and the head. The mean
    update of an entry is taken over the whole cohort (clients whose mask lacks the entry count as
    zero, HetLoRA's zero-padding) or over the clients whose mask has the entry. This is HetLoRA as
    in FLASC's code (imkevinkuo/flasc, train_sparse_lora_het.py): the paper's server weights clients
    by the norm of B A, and its clients prune ranks themselves (figure 2, known from notes of
    others).

    Args:
        tiers: ``share:ranks`` for each tier, such as ``"1:16,2:4"``, or fractions of the run's
            rank, such as ``"1:1/1,2:1/4"``; shares are scaled to add up to 1.
        which: Ranks to keep: the ``"first"`` ones, or those of ``"largest"`` norm.
        divisor: Clients over which an entry is averaged: ``"cohort"`` (all) or ``"covering"``
            (those whose mask has the entry).

    Raises:
        ConfigError: Tiers that cannot be read, or an unknown option.
    """
    if which not in ("first", "largest"):
        raise ConfigError(f"unknown ranks {which!r}; valid: first, largest")
    return Method("hetlora", rank_tiers(tiers, which, DEFAULT_RANKS), divisor=divisor)


def sparse_adapter(
    density: float = 0.25,
    scope: Scope = "global",
    pick: Pick = "largest",
    dense_head: bool = False,
) -> Method:
    """Return SparseAdapter as in the thesis: one dense round, then one mask that stays fixed.

    A *global* mask keeps almost only entries of A and the head, because B is still tiny after one
    round; most of B never trains again. Use ``scope="tensor"`` for a fair comparison.

    Raises:
        DensityError: A density outside (0, 1].
        ConfigError: An unknown scope or pick.
    """
    mask = FrozenMask(density_selector(density, scope, pick, dense_head))
    return Method("sparse-adapter", _ONE_TIER, persistent=mask)


def adapter_lth(
    factor: float = 0.98,
    scope: Scope = "global",
    pick: Pick = "largest",
    dense_head: bool = False,
) -> Method:
    """Return AdapterLTH as in the thesis: a mask that shrinks by a constant factor every round.

    Raises:
        DensityError: A factor outside (0, 1].
        ConfigError: An unknown scope or pick.
    """
    mask = ShrinkingMask(density_selector(1.0, scope, pick, dense_head), factor)
    return Method("adapter-lth", _ONE_TIER, persistent=mask)


def _floss_variant(layout: str, name: str = "") -> Callable[..., Method]:
    """Return the function of FLoSS over another layout; without a name it has the layout's."""

    @wraps(floss)
    def build(*arguments: Any, **options: Any) -> Method:
        return replace(floss(*arguments, **options), name=name or layout, trains=layout)

    return build


METHODS: Mapping[str, Callable[..., Method]] = {
    "floss": floss,
    "dense": dense,
    "floss-tiers": floss_tiers,
    "sparse-adapter": sparse_adapter,
    "adapter-lth": adapter_lth,
    "hetlora": hetlora,
    "rolora": rolora,
    "fslora": fslora,
    "lora-a2": lora_a2,
    "fedsrd": fedsrd,
    "ecolora": ecolora,
    "fedsa-lora": fedsa_lora,
    "feddpa": feddpa,
    "freezing": freezing,
    "flexlora": flexlora,
    "lora-fair": lora_fair,
    "fedsvd": fedsvd,
    "flora": flora,
    "fedex-lora": fedex_lora,
    "fed-sb": _floss_variant("square", "fed-sb"),
    "ravan": ravan,
    "fedkseed": fedkseed,
    **{layout: _floss_variant(layout) for layout in ("ffa", "bitfit", "full", "head")},
}
COMMON_OPTIONS = (
    "down_values", "up_values", "error_feedback", "mask_ledger", "change_ledger", "privacy",
)  # fmt: skip


def options_of(name: str) -> Sequence[str]:
    """Return the options of a method, including those that all methods have.

    Raises:
        ConfigError: An unknown name.
    """
    if name not in METHODS:
        raise ConfigError(f"unknown method {name!r}; valid: {', '.join(METHODS)}")
    return (*inspect.signature(METHODS[name]).parameters, *COMMON_OPTIONS)


def check_options(name: str, given: Iterable[str], valid: Sequence[str]) -> None:
    """Raise ConfigError if a given option is not among those that a method has."""
    strange = sorted(set(given) - set(valid))
    if strange:
        hint = "; use method 'floss' for densities" if name == "dense" else ""
        raise ConfigError(
            f"method {name!r} has no option {strange[0]!r}{hint}; valid: {', '.join(valid)}"
        )


def method_from_name(name: str, **options: Any) -> Method:
    """Return a method, given its name and options.

    Args:
        name: Name of the method, a key of ``METHODS``.
        options: Options of the method's function, and fields of :class:`Method` that
            ``COMMON_OPTIONS`` names.

    Raises:
        ConfigError: An unknown name, or an option that the method does not have.
        DensityError: A density outside (0, 1].

    Example:
        >>> from floss_sim import method_from_name
        >>> method_from_name("sparse-adapter", density=1 / 4).name
        'sparse-adapter'
    """
    check_options(name, options, options_of(name))
    own = {key: value for key, value in options.items() if key not in COMMON_OPTIONS}
    common = {key: value for key, value in options.items() if key in COMMON_OPTIONS}
    return replace(METHODS[name](**own), **common)
