"""Gradient descent: theta_{i+1} = theta_i - alpha g_i."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mct.inner.optimizers.optimizer import Pulled, Slots


@dataclass(frozen=True, slots=True)
class Sgd:
    """Gradient descent without momentum.

    Example:
        >>> theta, rate = torch.tensor([1.0, 2.0]), torch.tensor(0.5)
        >>> Sgd().update(0, theta, (), torch.tensor([1.0, -1.0]), rate)
        (tensor([0.5000, 2.5000]), ())
    """

    slots = 0
    rescales = False

    def update(
        self, _number: int, theta: Tensor, _slots: Slots, gradient: Tensor, alpha: Tensor, /
    ) -> tuple[Tensor, Slots]:
        """Return theta_{i+1}."""
        return torch.addcmul(theta, gradient, alpha, value=-1), ()

    def adjoint(
        self,
        _number: int,
        _slots: Slots,
        gradient: Tensor,
        alpha: Tensor,
        theta_adjoint: Tensor,
        _slot_adjoints: Slots,
        /,
    ) -> Pulled:
        """Return gamma_i = -alpha lambda_{i+1}, and the derivatives in theta_i and alpha."""
        return Pulled(-alpha * theta_adjoint, theta_adjoint, (), gradient @ theta_adjoint)
