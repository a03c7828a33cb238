"""Methods as plain values hold all of a method."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from floss_sim.errors import ConfigError
from floss_sim.methods import dense, method_from_name
from floss_sim.methods.catalog import METHODS
from floss_sim.methods.method_document import method_from_document, method_to_document
from floss_sim.methods.persistent_masks import FrozenMask, ShrinkingMask
from floss_sim.methods.top_k_selectors import RandomK, TopK

SETTINGS = {
    "floss": {"down_density": 1 / 4, "up_density": 0.1, "error_feedback": True},
    "floss-tiers": {"tiers": "0.5:1:1/4,0.5:1/4:1/16"},
    "hetlora": {"tiers": "0.5:4,0.5:1/2"},
}
ALL = [
    *(method_from_name(name, **SETTINGS.get(name, {})) for name in METHODS),
    replace(dense(), persistent=FrozenMask(TopK(1 / 4), after=2)),
    replace(dense(), persistent=ShrinkingMask(RandomK(1.0, "tensor"), 0.5), mask_ledger=True),
]


@pytest.mark.parametrize("method", ALL, ids=lambda method: method.name)
def test_every_method_comes_back_from_json(method):
    assert method_from_document(json.loads(json.dumps(method_to_document(method)))) == method


@pytest.mark.parametrize(
    "change", [{"kind": "Path"}, {"kind": "TopK"}, {"tiers": 3}, {"other": 1}, {"tiers": [{}]}]
)
def test_values_that_are_no_method_are_refused(change: dict):
    with pytest.raises(ConfigError):
        method_from_document({**method_to_document(dense()), **change})
