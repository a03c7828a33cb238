"""Learning curves drawn by the prior sampler of the package ``ifbo``, an optional dependency.

The sampler is what FT-PFN was trained on (Rakotoarison et al., In-Context Freeze-Thaw Bayesian
Optimization for Hyperparameter Optimization, ICML 2024, appendix A): a random network maps a
configuration to the parameters of a mixture of four saturating curves, each of which may turn down
or up after it has saturated. Only the sampler is used. It is code and one table of quantiles; the
surrogate of the package, whose weights are downloaded, is never made.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from numpy.typing import NDArray
from world_curves import CAP, SPACE, Array

from floss_sim.errors import ConfigError
from floss_sim.rng import stream_seed

_PARAMETERS = 23  # outputs of the random network: parameters of one curve
_AXES = ("rank", "down_density", "up_density")


def prior_curves(seed: int) -> Array:
    """Return a world's curves without noise, shape (candidates, rounds).

    The values of each axis lie in the middle of equal parts of [0, 1], which is the space of a
    parameter of the sampler. Its time, 0 to 1, is the round over ``CAP``. The noise that it would
    add to each evaluation is off.

    Raises:
        ConfigError: The package ``ifbo`` is not installed.
    """
    import torch

    prior = check_sampler()
    state = np.random.get_state()  # the sampler draws from the global streams
    try:
        with torch.random.fork_rng(devices=[]):
            np.random.seed(stream_seed(seed, "prior") % 2**32)
            torch.manual_seed(stream_seed(seed, "prior"))
            sampler = prior.DatasetPrior(len(_AXES), _PARAMETERS)
            curve = sampler.curves_for_configs(_unit_space())
        inspect.getclosurevars(curve).nonlocals["sigma"][:] = 0
        time_R = np.arange(1, CAP + 1) / CAP
        return np.array([curve(time_R, row) for row in range(len(SPACE))])
    finally:
        np.random.set_state(state)


def check_sampler() -> Any:
    """Return the module of the sampler.

    Raises:
        ConfigError: The package ``ifbo`` is not installed.
    """
    try:
        from ifbo.priors import ftpfn_prior
    except ImportError as error:
        raise ConfigError(
            "worlds of family prior need the sampler of the package ifbo, which cannot be "
            f"imported ({error}): pip install ifbo"
        ) from None
    return ftpfn_prior


def _unit_space() -> NDArray[np.float64]:
    """Return the candidates as points of the sampler's space, shape (candidates, axes)."""
    columns = [np.array([getattr(c, axis) for c in SPACE]) for axis in _AXES]
    placed = [np.unique(column, return_inverse=True) for column in columns]
    return np.stack([(at + 0.5) / len(values) for values, at in placed], axis=1)
