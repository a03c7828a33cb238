"""Methods are data: which entries travel each way is a pair of selectors.

The training loop is the same for every method; see :mod:`floss_sim.methods.method`.
"""

from floss_sim.methods.method import METHODS, Method, dense, floss, method_from_name
from floss_sim.methods.selectors import Everything, Selector, TopK

__all__ = [
    "METHODS",
    "Everything",
    "Method",
    "Selector",
    "TopK",
    "dense",
    "floss",
    "method_from_name",
]
