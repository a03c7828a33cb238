"""Server optimiser: one step per round on P, with the mean decoded update g as the gradient.

==========  ===================================================================================
fedadam     Adam, betas 0.9 and 0.999, eps 1e-8, no weight decay (FLoSS: thesis, section 4.1)
fedadamw    fedadam with decoupled weight decay, 0.01 by default (FLASC's published code)
fedavg      P - lr g: with lr 1 and a dense download, the clients' mean (McMahan et al. 2017)
fedavgm     u = momentum u + g ; P - lr u (Hsu, Qi and Brown 2019)
fedyogi     Reddi et al. 2021, algorithm 2: betas 0.9 and 0.99
fedadagrad  Reddi et al. 2021, algorithm 2, without momentum
==========  ===================================================================================

Algorithm 2 of Reddi et al. (arXiv:2003.00295) has no bias correction and starts v at tau**2::

    m = 0.9 m + 0.1 g                                (fedadagrad: m = g)
    v = v - 0.01 g**2 sign(v - g**2)                 (fedadagrad: v = v + g**2)
    P = P - lr m / (sqrt(v) + tau)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from floss_sim.tasks.sections import ServerSection
from floss_sim.vectors.top_k import Mask, Vector

_YOGI_BETAS = (0.9, 0.99)
_SQUARES = "exp_avg_sq"  # the moment of squares


class BasisChange(NamedTuple):
    """Change of the basis of a matrix B (O, R): its new values are B T.

    Attributes:
        place: Slice of B in the vector.
        shape: Shape of B.
        basis: T, float64 of shape (R, R).
    """

    place: slice
    shape: tuple[int, ...]
    basis: NDArray[np.float64]


class AdaptiveOptimizer(torch.optim.Optimizer):
    """FedYogi and FedAdagrad as in Reddi et al. 2021; torch implements neither.

    Args:
        parameter: The parameter to optimise.
        lr: The server's learning rate.
        tau: Degree of adaptivity: the term added to sqrt(v); v starts at tau**2.
        yogi: True: FedYogi; False: FedAdagrad.
    """

    def __init__(self, parameter: torch.nn.Parameter, *, lr: float, tau: float, yogi: bool) -> None:
        super().__init__([parameter], {"lr": lr, "tau": tau, "yogi": yogi})

    @torch.no_grad()
    def step(self, closure: object = None) -> None:  # type: ignore[override]
        """Update the parameter once from its gradient; ``closure`` is ignored."""
        for group in self.param_groups:
            for parameter in group["params"]:
                self._update(parameter, group["lr"], group["tau"], group["yogi"])

    def _update(self, parameter: torch.Tensor, lr: float, tau: float, yogi: bool) -> None:
        gradient = parameter.grad
        if gradient is None:
            return
        state = self.state[parameter]
        if not state:
            state["exp_avg"] = torch.zeros_like(parameter)
            state[_SQUARES] = torch.full_like(parameter, tau**2)
        m, v, square = state["exp_avg"], state[_SQUARES], gradient**2
        if yogi:
            m.lerp_(gradient, 1 - _YOGI_BETAS[0])
            v.sub_((1 - _YOGI_BETAS[1]) * square * torch.sign(v - square))
        else:
            m.copy_(gradient)
            v.add_(square)
        parameter.sub_(lr * m / (v.sqrt() + tau))


def _optimizer(parameter: torch.nn.Parameter, settings: ServerSection) -> torch.optim.Optimizer:
    lr = settings.learning_rate
    match settings.optimizer:
        case "fedadam":
            return torch.optim.Adam([parameter], lr=lr, foreach=False)
        case "fedadamw":
            decay = settings.weight_decay
            return torch.optim.AdamW([parameter], lr=lr, weight_decay=decay, foreach=False)
        case "fedavg":
            return torch.optim.SGD([parameter], lr=lr, foreach=False)
        case "fedavgm":
            return torch.optim.SGD([parameter], lr=lr, momentum=settings.momentum, foreach=False)
        case name:
            return AdaptiveOptimizer(parameter, lr=lr, tau=settings.tau, yogi=name == "fedyogi")


class ServerOptimizer:
    """The dense server vector P, float32 of shape (N,), with its optimiser and moments.

    Args:
        initial_N: Initial P, float32 of shape (N,); copied.
        settings: Optimiser, learning rate, momentum, weight decay and tau.
    """

    def __init__(self, initial_N: Vector, settings: ServerSection) -> None:
        self._parameter = torch.nn.Parameter(torch.from_numpy(initial_N.copy()))
        self._optimizer = _optimizer(self._parameter, settings)

    def vector(self) -> Vector:
        """Return P without copying it; callers must not write to it."""
        return self._parameter.detach().numpy()

    def step(self, gradient_N: Vector, moving_N: Mask | None = None) -> None:
        """Update P once, with the mean update as the gradient.

        Args:
            gradient_N: The mean update, float32 of shape (N,).
            moving_N: Mask of the entries that the step moves; of all others P and the moments stay
                as they are. None: all entries.
        """
        self._parameter.grad = torch.from_numpy(gradient_N)
        if moving_N is None:
            self._optimizer.step()
            return
        still_N = torch.from_numpy(~moving_N)
        held = {name: values_N[still_N] for name, values_N in self._vectors().items()}
        self._optimizer.step()
        for name, values_N in self._vectors().items():
            if name in held:  # a moment that this step has made has seen no gradient there
                values_N[still_N] = held[name]

    def add(self, change_N: Vector) -> None:
        """Add to P, float32 of shape (N,), without a step of the optimiser."""
        with torch.no_grad():
            self._parameter.add_(torch.from_numpy(change_N))

    def _vectors(self) -> dict[str, torch.Tensor]:
        """Return P and the moments of one value an entry, by name, without copying them."""
        shape = self._parameter.shape
        moments = {name: m for name, m in self._moments().items() if m.shape == shape}
        return {"P": self._parameter.detach(), **moments}

    def prune(self, kept_N: Mask) -> None:
        """Set P and its moments to zero outside a mask, so that pruned entries stay zero."""
        lost_N = torch.from_numpy(~kept_N)
        for values_N in self._vectors().values():
            values_N[lost_N] = 0

    def refactor(self, values_N: Vector, bases: Sequence[BasisChange]) -> None:
        """Replace P, and bring the moments of some matrices into their new bases.

        Args:
            values_N: The new P, float32 of shape (N,).
            bases: Matrices whose new values are the old ones times T. Means of gradients become
                m T, means of squares v (T * T).
        """
        self._parameter.detach().copy_(torch.from_numpy(values_N))
        for name, moment_N in self._vectors().items():
            if name == "P":
                continue
            for place, shape, basis in bases:
                turn = torch.from_numpy(basis**2 if name == _SQUARES else basis)
                moment_N[place] = (moment_N[place].view(shape).double() @ turn).float().ravel()

    def _moments(self) -> dict[str, torch.Tensor]:
        state = self._optimizer.state.get(self._parameter, {})
        return {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}

    def state(self) -> dict[str, NDArray[np.float32]]:
        """Return copies of P, the moments and the step count, by tensor name."""
        moments = {name: value.numpy().copy() for name, value in self._moments().items()}
        return {"P": self.vector().copy(), **moments}

    def restore(self, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        """Restore a state that :meth:`state` returned; unknown names are ignored."""
        with torch.no_grad():
            self._parameter.copy_(torch.from_numpy(tensors["P"].copy()))
        moments = {
            name: torch.from_numpy(tensors[name].copy())
            for name in ("exp_avg", _SQUARES, "momentum_buffer", "step")
            if name in tensors
        }
        self._optimizer.state.clear()  # a state saved before the first step has no moments
        if moments:
            self._optimizer.state[self._parameter] = moments
