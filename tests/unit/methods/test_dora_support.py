"""DoRA's magnitudes: which methods of the catalog hold them, and one of a user's own."""

from __future__ import annotations

import pytest

from floss_sim.errors import LayoutError
from floss_sim.methods import METHODS, Method, Tier, TopK, Turns, method_from_name
from floss_sim.methods.dora_support import check_dora

REASONS = {
    "it trains B alone": {"ffa", "fedsvd"},
    "it trains neither matrix": {"fed-sb", "ravan"},
    "it trains the whole model": {"fedkseed"},
    "it trains A and B in turns": {"rolora", "lora-a2"},
    "its tiers are ranks": {"hetlora"},
    "its sketches are ranks": {"fslora"},
    "its clients keep B": {"fedsa-lora"},
    "its modules have two adapters": {"feddpa"},
    "its server step is on products B A": {"fedsrd", "flexlora", "lora-fair"},
    "its server merges products B A": {"flora", "fedex-lora"},
}
REFUSED = [(name, reason) for reason, names in REASONS.items() for name in names]


@pytest.mark.parametrize(("name", "reason"), sorted(REFUSED))
def test_methods_that_lack_a_matrix_or_compute_with_products_are_refused(name: str, reason: str):
    with pytest.raises(LayoutError, match=f"method '{name}' cannot hold DoRA: {reason}"):
        check_dora(method_from_name(name))


def test_all_others_hold_it():
    for name in METHODS.keys() - {name for name, _ in REFUSED}:
        check_dora(method_from_name(name))


def test_what_a_method_trains_counts_and_not_its_name():
    mine = Method("mine", (Tier(1.0, TopK(1.0), TopK(1.0), Turns(TopK(1.0))),))
    with pytest.raises(LayoutError, match="method 'mine' cannot hold DoRA: it trains A and B in"):
        check_dora(mine)
