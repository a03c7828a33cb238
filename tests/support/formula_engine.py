"""The formula of pages under a JavaScript engine: V8, without a browser."""

from __future__ import annotations

import atexit
import base64
import gzip
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np
from py_mini_racer import MiniRacer
from read_pages import ReadPage

from floss_sim.page.formula_data import FormulaData

_TYPES = {"Float64Array": "<f8", "Uint32Array": "<u4", "Uint16Array": "<u2"}
_WIDE = {"Uint16Array": "Uint32Array"}  # as the page unpacks them
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


class FormulaEngine:
    """The script of a page with its data, without sliders and pictures."""

    def __init__(self, page: Any, index: Sequence[tuple[str, int, int]], text: str) -> None:
        blob = gzip.decompress(base64.b64decode(text))
        values = [np.frombuffer(blob, _TYPES[kind], count, at) for kind, at, count in index]
        made = [
            f"{_WIDE.get(kind, kind)}.from({json.dumps(one.tolist())})"
            for (kind, _, _), one in zip(index, values, strict=True)
        ]
        self.page, self._engine = page, MiniRacer()
        atexit.register(self._engine.close)  # an engine that is open at the end waits for ever
        code = (files("floss_sim.page") / "formula.js").read_text(encoding="utf-8")
        given = f"const page = {json.dumps(page)}, arrays = [{','.join(made)}];"
        self._engine.eval(f"{code}\n{given}\n{_GLUE}")

    @classmethod
    def of_data(cls, data: FormulaData) -> FormulaEngine:
        made = data.to_json({})
        return cls(made, data.arrays.index(), data.arrays.text())

    @classmethod
    def of_page(cls, html: str) -> FormulaEngine:
        """Return the formula of a page's file."""
        read = ReadPage(html)
        packed = read.data("page-arrays")
        return cls(read.data("page-data")["whatIf"], packed["index"], packed["text"])

    def call(self, code: str, *given: Any) -> Any:
        """Return the value of a function of the script for some arguments."""
        words = ",".join(json.dumps(one) for one in given)
        return json.loads(self._engine.eval(f"JSON.stringify(({code})({words}))"))
