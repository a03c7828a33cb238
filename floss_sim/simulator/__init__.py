"""Discrete-event simulation of rounds: server and client processes in SimPy."""

from floss_sim.simulator.participation import AGGREGATED, Transfer
from floss_sim.simulator.policies import (
    RoundPolicy,
    buffered,
    deadline,
    first_k,
    parse_policy,
    wait_all,
)
from floss_sim.simulator.rounds import RoundOutcome, outcomes, simulate

__all__ = [
    "AGGREGATED",
    "RoundOutcome",
    "RoundPolicy",
    "Transfer",
    "buffered",
    "deadline",
    "first_k",
    "outcomes",
    "parse_policy",
    "simulate",
    "wait_all",
]
