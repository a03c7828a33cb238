"""The discrete-event simulation of rounds: server and client processes in SimPy."""

from floss_sim.simulator.policies import RoundPolicy, WaitAll
from floss_sim.simulator.rounds import RoundOutcome, Transfer, simulate

__all__ = ["RoundOutcome", "RoundPolicy", "Transfer", "WaitAll", "simulate"]
