"""Method as plain values that hold all of it, persistent masks included, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from floss_sim.errors import ConfigError
from floss_sim.methods.method import Method, Tier
from floss_sim.methods.persistent_masks import FrozenMask, PersistentMask, ShrinkingMask
from floss_sim.methods.rank_selectors import Ranks
from floss_sim.methods.selectors import Everything, SameMask
from floss_sim.methods.top_k_selectors import RandomK, TopK

_KIND, _PICK = "kind", "pick"
_SELECTORS: Mapping[str, type] = {
    kind.__name__: kind for kind in (Everything, RandomK, Ranks, SameMask, TopK)
}
_MASKS: Mapping[str, type] = {kind.__name__: kind for kind in (FrozenMask, ShrinkingMask)}


def method_to_document(method: Method) -> dict[str, Any]:
    """Return a method as plain values, for :func:`method_from_document`."""
    values = {field.name: getattr(method, field.name) for field in fields(method)}
    tiers = [
        {"share": t.share, "download": _part(t.download), "upload": _part(t.upload)}
        for t in method.tiers
    ]
    mask = method.persistent
    kept = mask and {**_part(mask), _PICK: _part(mask.pick)}
    return {**values, "tiers": tiers, "persistent": kept}


def method_from_document(content: Mapping[str, Any]) -> Method:
    """Return the method of plain values.

    Raises:
        ConfigError: The values are no method.
    """
    try:
        values = dict(content)
        tiers = tuple(
            Tier(tier["share"], _built(tier["download"]), _built(tier["upload"]))
            for tier in values.pop("tiers")
        )
        return Method(tiers=tiers, persistent=_mask(values.pop("persistent")), **values)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ConfigError("cannot read the values of a method") from None


def _part(value: Any) -> dict[str, Any]:
    return {_KIND: type(value).__name__, **asdict(value)}


def _built(content: Mapping[str, Any]) -> Any:
    values = dict(content)
    return _SELECTORS[values.pop(_KIND)](**values)


def _mask(content: Mapping[str, Any] | None) -> PersistentMask | None:
    if content is None:
        return None
    values = dict(content)
    made: PersistentMask = _MASKS[values.pop(_KIND)](pick=_built(values.pop(_PICK)), **values)
    return made
