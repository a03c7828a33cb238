"""DoRA: which methods can hold its magnitudes, by what they train and send.

DoRA scales W + B A, row by row, to a trained magnitude. A client must therefore hold both matrices,
and a server that computes with products B A would have to know the scale.
"""

from __future__ import annotations

from floss_sim.errors import LayoutError
from floss_sim.methods.method import Method
from floss_sim.methods.private_entries import PrivateRanks
from floss_sim.methods.rank_selectors import Ranks
from floss_sim.methods.tensor_kinds import Turns
from floss_sim.vectors.layout import LORA_B, SQUARE_LAYOUTS


def check_dora(method: Method) -> None:
    """Raise LayoutError if a method cannot hold DoRA's magnitudes."""
    if reason := _reason(method):
        raise LayoutError(f"method {method.name!r} cannot hold DoRA: {reason}")


def _reason(method: Method) -> str:
    """Return why a method cannot hold them; empty if it can."""
    trained, download = method.tiers[0].trained, method.tiers[0].download
    turns = trained.turns if isinstance(trained, Turns) else ()
    if method.zeroth_order:
        return "it trains the whole model, without adapters"
    if method.trains in SQUARE_LAYOUTS:
        return "it trains neither matrix, and DoRA's magnitude needs both"
    if isinstance(method.private, PrivateRanks):
        return "its modules have two adapters, and DoRA's magnitude is of one"
    if method.private:
        return "its clients keep B, and DoRA's magnitude needs both matrices"
    if method.backbone_change:
        return "its server merges products B A, which DoRA scales by its magnitude"
    if method.trains == "ffa" or turns == ((LORA_B,),):
        return "it trains B alone, and DoRA's magnitude needs both matrices"
    if len(turns) > 1:
        return "it trains A and B in turns, and DoRA's magnitude needs both matrices"
    if method.product_step:
        return "its server step is on products B A, which DoRA scales by its magnitude"
    if isinstance(download, Ranks):
        ranks = "sketches" if method.downloads_by_dispatch else "tiers"
        return f"its {ranks} are ranks, and DoRA's magnitude has none"
    return ""
