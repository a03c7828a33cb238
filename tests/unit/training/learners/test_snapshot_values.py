"""Snapshots whose arrays have the right shapes, and values that no run has."""

from __future__ import annotations

import numpy as np
import pytest

from floss_sim.errors import RecordError
from floss_sim.protocol import Snapshot
from floss_sim.training.learners.snapshot_values import check_values

WEIGHTS = np.ones(3, np.float32)
NAN = np.array([0, np.nan, 1], np.float32)
VALID = {
    "P": WEIGHTS,
    "exp_avg_sq": NAN,  # moments have no bounds
    "held": np.array([0, 4], np.int32),
    "held_keys": np.array([[9, 4]], np.int32),  # tier and version
    "changed_at": np.array([0, 4, 1], np.int32),
    "lost_at": np.array([0, 4, 1], np.int32),
    "step/4": np.zeros(5, np.uint8),
}
STATE = {"held": WEIGHTS, "private": WEIGHTS, "held_version": np.array([4], np.float32)}


def check(tensors: dict, client: int = 1, **state: np.ndarray) -> None:
    check_values(Snapshot(4, VALID | tensors, {client: STATE | state}), clients=2)


def test_values_that_a_run_has_pass():
    check({})


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"P": NAN}, "'P' has values that are not finite"),
        ({"held": np.array([0, 5])}, "'held' has version 5; valid: 0 to 4"),
        ({"held": np.array([-1, 0])}, "'held' has version -1"),
        ({"held_keys": np.array([[0, 5]])}, "'held_keys' has version 5"),
        ({"changed_at": np.array([99])}, "'changed_at' has version 99"),
        ({"lost_at": np.array([-3])}, "'lost_at' has version -3"),
        ({"step/x": WEIGHTS}, "'step/x' has version nan"),
        ({"step/5": WEIGHTS}, "'step/5' has version 5"),
    ],
)
def test_values_of_the_server_that_no_run_has_are_refused(changed: dict, says: str):
    with pytest.raises(RecordError, match=says):
        check(changed)


@pytest.mark.parametrize("version", [5, -1, 0.5, np.nan, np.inf])
def test_a_version_that_a_client_cannot_hold_is_refused(version: float):
    with pytest.raises(RecordError, match=f"'client/1/held_version' has version {version:g}"):
        check({}, held_version=np.array([version], np.float32))


def test_a_state_that_is_not_finite_or_of_no_client_is_refused():
    with pytest.raises(RecordError, match="'client/1/private' has values that are not finite"):
        check({}, private=NAN)
    with pytest.raises(RecordError, match="a state of client 2; valid: 0 to 1"):
        check({}, client=2)
