"""A plan file edited at random is read, or refused in one line; it never breaks the command."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from made_plans import whole_plan

from floss_sim.errors import PlanError
from planner.cli.printing import print_plan
from planner.plans.plan_file import plan_of

PLAN = json.loads(json.dumps(whole_plan().to_json()))
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from([0, -1, 10**400, "[/red]", "1/4", "\ud800", [], {}, [[]], {"a": 1}]),
)  # fmt: skip


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Return the path of every value inside a document."""
    pairs = (
        value.items() if isinstance(value, dict)
        else enumerate(value) if isinstance(value, list) else ()
    )  # fmt: skip
    return [p for key, inner in pairs for p in [(*path, key), *places(inner, (*path, key))]]


PLACES = places(PLAN)


@example([(("explanation", "neighbours", 1, "axis"), "0", False)])
@given(st.lists(st.tuples(st.sampled_from(PLACES), ODD, st.booleans()), min_size=1, max_size=3))
def test_edits_never_give_a_traceback(edits):
    content = deepcopy(PLAN)
    for path, value, remove in edits:
        place = content
        try:
            for key in path[:-1]:
                place = place[key]
            if remove:
                del place[path[-1]]
            else:
                place[path[-1]] = value
        except (KeyError, IndexError, TypeError):  # an earlier edit has removed the place
            continue
    try:
        read = plan_of(content, "plan.json")
    except PlanError as error:
        assert "\n" not in str(error)
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "80")
        print_plan(read)
    json.dumps(read.to_json())
