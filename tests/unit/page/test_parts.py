"""Parts of pages: what is escaped, what is packed, and what a script may not be ended by."""

from __future__ import annotations

import json

import numpy as np
import pytest
from read_pages import ReadPage

from floss_sim.page.packed_arrays import PackedArrays
from floss_sim.page.parts import element, script_data, table

HOSTILE = '</script><b onmouseover="x">"quoted" & \'single\'</b><!--'


def test_texts_and_attributes_are_escaped():
    page = ReadPage(table(HOSTILE, ["", HOSTILE], [[HOSTILE, HOSTILE]]))
    assert [tag for tag, _ in page.elements if tag in ("b", "script")] == []
    assert page.texts == [HOSTILE] * 4
    assert page.elements[0][1]["aria-label"] == HOSTILE
    assert element("p", "a\u202eb") == "<p>a?b</p>"  # what turns a text around is no text


def test_data_cannot_end_their_script():
    told = script_data({HOSTILE: [1.5, None, HOSTILE]})
    assert not set("<>&") & set(told)
    assert json.loads(told) == {HOSTILE: [1.5, None, HOSTILE]}
    with pytest.raises(ValueError, match="JSON"):
        script_data([float("nan")])


def test_an_array_that_begins_another_one_is_stored_once():
    arrays = PackedArrays()
    long = np.arange(1000)
    assert [arrays.add(one) for one in (long, long[:10], np.arange(5, 9), long / 1)] == [0, 0, 1, 2]
    assert [kind for kind, _, _ in arrays.index()] == ["Uint16Array"] * 2 + ["Float64Array"]
    assert all(begin % 8 == 0 for _, begin, _ in arrays.index())
    wide = PackedArrays()
    for most, kind in ((2**16, "Uint32Array"), (2**32, "Float64Array"), (-1, "Float64Array")):
        number = wide.add(np.array([most]))
        assert wide.index()[number][0] == kind
