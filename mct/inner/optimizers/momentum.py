"""Gradient descent with momentum, as `torch.optim.SGD` without dampening and without Nesterov's rule.

    b_{i+1}     = mu b_i + g_i                  b_0 = 0
    theta_{i+1} = theta_i - alpha b_{i+1}

With lambda and kappa the adjoints of theta and b:

    d/d alpha -= <b_{i+1}, lambda_{i+1}>
    gamma_i    = kappa_{i+1} - alpha lambda_{i+1}
    kappa_i    = mu gamma_i
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mct.inner.optimizers.optimizer import Pulled, Slots


@dataclass(frozen=True, slots=True)
class Momentum:
    """Gradient descent with momentum.

    Example:
        >>> theta, rate, gradient = torch.tensor([1.0]), torch.tensor(0.5), torch.tensor([1.0])
        >>> theta, slots = Momentum(0.5).update(0, theta, (torch.zeros(1),), gradient, rate)
        >>> Momentum(0.5).update(1, theta, slots, gradient, rate)
        (tensor([-0.2500]), (tensor([1.5000]),))
    """

    momentum: float
    """mu."""

    slots = 1
    rescales = False

    def update(
        self, _number: int, theta: Tensor, slots: Slots, gradient: Tensor, alpha: Tensor, /
    ) -> tuple[Tensor, Slots]:
        """Return theta_{i+1} and b_{i+1}."""
        buffer = torch.add(gradient, slots[0], alpha=self.momentum)
        return torch.addcmul(theta, buffer, alpha, value=-1), (buffer,)

    def adjoint(
        self,
        _number: int,
        slots: Slots,
        _gradient: Tensor,
        alpha: Tensor,
        theta_adjoint: Tensor,
        slot_adjoints: Slots,
        /,
    ) -> Pulled:
        """Return gamma_i, and the derivatives in theta_i, b_i and alpha."""
        gamma = torch.addcmul(slot_adjoints[0], theta_adjoint, alpha, value=-1)
        return Pulled(gamma, theta_adjoint, (self.momentum * gamma,), slots[0] @ theta_adjoint)
