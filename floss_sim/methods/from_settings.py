"""A method rebuilt from its name and its settings, as records and exported runs state them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from floss_sim.errors import ConfigError
from floss_sim.methods.backbone_changes import BackboneChange, ExactResidual, Stacking
from floss_sim.methods.corrected_mean_step import CorrectedMeanStep
from floss_sim.methods.differential_privacy import DifferentialPrivacy
from floss_sim.methods.kurtosis_selectors import KurtosisTopK
from floss_sim.methods.layer_freezing import LayerFreezing
from floss_sim.methods.mean_product_step import MeanProductStep
from floss_sim.methods.method import Method
from floss_sim.methods.one_factor_step import OneFactorStep
from floss_sim.methods.persistent_masks import FrozenMask, PersistentMask, ShrinkingMask
from floss_sim.methods.private_entries import PrivateKinds, PrivatePart, PrivateRanks
from floss_sim.methods.product_steps import ProductStep
from floss_sim.methods.rank_selectors import Ranks, TopRanks
from floss_sim.methods.rebasing_step import RebasingStep
from floss_sim.methods.schedules import Schedule
from floss_sim.methods.segment_selectors import Segments
from floss_sim.methods.selectors import Everything, SameMask, Selector
from floss_sim.methods.shared_ranks import OfSharedRanks
from floss_sim.methods.tensor_kinds import OfKinds, Turns
from floss_sim.methods.tier import Tier
from floss_sim.methods.top_k_selectors import RandomK, TopK
from floss_sim.methods.zeroth_order import SteppedSeeds, ZerothOrder

_WITHOUT_SELECTORS = ("dense",)  # methods that send every entry, whatever its magnitude
_DENSE_DOWNLOADS = ("fedsrd", "freezing", "fedkseed")  # methods whose downloads have every entry
_PRODUCT_STEPS: Mapping[str, Callable[..., ProductStep]] = {  # by their setting
    "density": OneFactorStep,
    "product_rate": MeanProductStep,
    "penalty": CorrectedMeanStep,
    "rebase_every": RebasingStep,
}
_OWN = (
    "trains", "heads", "down_values", "up_values", "error_feedback", "mask_ledger",
    "change_ledger", "divisor", "ranking",
)  # fmt: skip


def method_from_settings(name: str, settings: Mapping[str, Any]) -> Method:
    """Return the method of a name and of what :meth:`Method.settings` returned for it.

    Args:
        name: Name of the method.
        settings: Its settings, as plain values.

    Raises:
        ConfigError: They are no settings of a method.
        DensityError: A density is outside (0, 1].
    """
    try:
        made = Method(
            name,
            _tiers(name, settings),
            **{key: settings[key] for key in _OWN if key in settings},
            persistent=_persistent(settings),
            product_step=_product_step(settings.get("product_step")),
            backbone_change=_backbone_change(settings.get("backbone_change")),
            zeroth_order=_zeroth_order(settings.get("zeroth_order")),
            private=_private(settings.get("private")),
            privacy=_privacy(settings.get("privacy")),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ConfigError(f"cannot read the settings of method {name!r}") from None
    if made.settings() != dict(settings):
        raise ConfigError(f"cannot read the settings of method {name!r}")
    return made


def _tiers(name: str, settings: Mapping[str, Any]) -> tuple[Tier, ...]:
    if "mask" in settings:  # of a persistent mask, which is that of both ways
        return (Tier(1.0, Everything(), SameMask()),)
    return tuple(_tier(name, tier) for tier in settings.get("tiers", [settings]))


def _tier(name: str, settings: Mapping[str, Any]) -> Tier:
    down, up, trained = (
        {
            key.removeprefix(f"{way}_"): value
            for key, value in settings.items()
            if key.startswith(f"{way}_") and key != f"{way}_values"
        }
        for way in ("down", "up", "trained")
    )
    upload = SameMask() if "mask" in up else _selector(name, up)
    schedule = _schedule(trained) if trained else None
    download = Everything() if name in _DENSE_DOWNLOADS else _selector(name, down)
    return Tier(settings.get("share", 1.0), download, upload, schedule)


def _persistent(settings: Mapping[str, Any]) -> PersistentMask | None:
    """Return the persistent mask of a method; None if it has none."""
    if "mask" not in settings:
        return None
    of_pick = {key: settings[key] for key in ("scope", "dense_head", "pick") if key in settings}
    pick = _fraction({"density": settings.get("density", 1.0), **of_pick})
    if settings["mask"] == FrozenMask.kind:
        return FrozenMask(pick, settings.get("after", 1))
    return ShrinkingMask(pick, settings["factor"])


def _backbone_change(settings: Mapping[str, Any] | None) -> BackboneChange | None:
    if settings is None:
        return None
    if "residual" not in settings:
        return Stacking(settings["rate"])
    largest = settings["residual"]
    return ExactResidual(None if largest == "all" else largest)


def _zeroth_order(settings: Mapping[str, Any] | None) -> ZerothOrder | None:
    return None if settings is None else ZerothOrder(**settings)


def _privacy(settings: Mapping[str, Any] | None) -> DifferentialPrivacy | None:
    return None if settings is None else DifferentialPrivacy(**{"clip": math.inf, **settings})


def _selector(name: str, settings: dict[str, Any]) -> Selector | Schedule:
    if name in _WITHOUT_SELECTORS:
        return Everything()
    if "steps" in settings:
        return SteppedSeeds(**settings)
    if "ranks" in settings:
        return Ranks(**settings)
    return _schedule(settings) if settings.keys() & {"turns", "segments"} else _pick(settings)


def _schedule(settings: dict[str, Any]) -> Schedule:
    if "segments" in settings:
        return Segments(**settings)
    if "freeze_every" in settings:
        return LayerFreezing(**settings)
    pick = {key: value for key, value in settings.items() if key != "turns"}
    return Turns(_pick(pick), tuple(tuple(kinds) for kinds in settings["turns"]))


def _product_step(settings: Mapping[str, Any] | None) -> ProductStep | None:
    if settings is None:
        return None
    (name,) = settings
    return _PRODUCT_STEPS[name](**settings)


def _private(settings: Any) -> PrivatePart | None:
    if isinstance(settings, Mapping):
        return PrivateRanks(settings["private_rank"], settings.get("together", False))
    return None if settings is None else PrivateKinds(tuple(settings))


def _pick(settings: dict[str, Any]) -> Selector:
    if "kinds" in settings:
        pick = {key: value for key, value in settings.items() if key != "kinds"}
        return OfKinds(_pick(pick), tuple(settings["kinds"]))
    if "private_rank" in settings:
        pick = {key: value for key, value in settings.items() if key != "private_rank"}
        return OfSharedRanks(_pick(pick), settings["private_rank"])
    if settings.get("unit") == "ranks":
        return TopRanks(settings["density"])
    if settings.get("by") == "kurtosis":
        return KurtosisTopK(settings["density"])
    return _fraction(settings)


def _fraction(settings: dict[str, Any]) -> TopK | RandomK:
    chosen = {key: value for key, value in settings.items() if key != "pick"}
    return RandomK(**chosen) if settings.get("pick") == "random" else TopK(**chosen)
