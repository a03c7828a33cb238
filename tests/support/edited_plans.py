"""Edits of a plan's file, and the message by which an edited plan is refused."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from floss_sim.errors import PlanError
from planner.plans.plan_file import plan_of


def changed(path: str, value: Any, content: Any) -> Any:
    """Return a plan's content with another value at a dotted path.

    Args:
        path: Keys and positions, such as ``runners_up.0.rounds``.
        value: The value, or a function of the present one.
        content: The content; it is not altered.
    """
    made = deepcopy(content)
    place = made
    *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    for key in parents:
        place = place[key]
    place[last] = value(place[last]) if callable(value) else value
    return made


def refusal(content: Any) -> str:
    """Return the one line by which a plan's content is refused."""
    with pytest.raises(PlanError) as error:
        plan_of(content, "plan.json")
    assert "\n" not in str(error.value)
    return str(error.value)
