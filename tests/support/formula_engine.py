"""The formula of pages under a JavaScript engine: V8, without a browser."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import numpy as np
from py_mini_racer import MiniRacer

from floss_sim.page.packed_arrays import PackedArrays
from floss_sim.page.what_if import FormulaData

_TYPES = {"Float64Array": "<f8", "Uint32Array": "<u4", "Uint16Array": "<u2"}
_GLUE = """
const linksAt = (set) => changedLinks(page.networks[set.network], arrays, set);
const timesAt = (k, set) => {
  const net = page.networks[set.network], parts = [0, 0, 0, 0];
  const times = fleetTimes(page.configs[k], net, arrays, linksAt(set), set, net.fleets, parts);
  return { times: times.map((one) => Array.from(one)), parts };
};
const answerOf = (set) => {
  const net = page.networks[set.network], links = linksAt(set);
  const amount = budgetAmount(page, net, arrays, links, set);
  const outcomes = page.configs.map((one) => outcomeWithin(
    page, arrays, one, spending(page, net, arrays, links, set, one), amount));
  const best = bestOutcome(page, outcomes.filter((one) => one));
  return { amount, rounds: outcomes.map((one) => one && one.rounds),
    best: best && page.configs.indexOf(best.config) };
};
"""


def unpacked(arrays: PackedArrays) -> list[np.ndarray]:
    """Return the arrays as the browser reads them."""
    import base64
    import gzip

    blob = gzip.decompress(base64.b64decode(arrays.text()))
    return [
        np.frombuffer(blob, _TYPES[kind], count, begin) for kind, begin, count in arrays.index()
    ]


class FormulaEngine:
    """The script of a page with its data, without sliders and pictures."""

    def __init__(self, data: FormulaData) -> None:
        self._engine = MiniRacer()
        made = data.to_json({})
        code = (files("floss_sim.page") / "formula.js").read_text(encoding="utf-8")
        arrays = [
            f"{kind}.from({json.dumps(values.tolist())})"
            for (kind, _, _), values in zip(data.arrays.index(), unpacked(data.arrays), strict=True)
        ]
        given = f"const page = {json.dumps(made)}, arrays = [{','.join(arrays)}];"
        self._engine.eval(f"{code}\n{given}\n{_GLUE}")

    def call(self, code: str, *given: Any) -> Any:
        """Return the value of a function of the script for some arguments."""
        words = ",".join(json.dumps(one) for one in given)
        return json.loads(self._engine.eval(f"JSON.stringify(({code})({words}))"))
