"""Adam, as `torch.optim.Adam` and `DifferentiableAdam` of the package higher.

    m_{i+1}     = b1 m_i + (1 - b1) g_i         m_0 = 0,   c1 = 1 - b1^{i+1}
    v_{i+1}     = b2 v_i + (1 - b2) g_i^2       v_0 = 0,   c2 = 1 - b2^{i+1}
    s           = sqrt(v_{i+1} / c2),           d = s + eps
    theta_{i+1} = theta_i - alpha m_{i+1} / (c1 d)

With lambda, mu and nu the adjoints of theta, m and v:

    d/d alpha -= <m_{i+1} / (c1 d), lambda_{i+1}>
    mu'        = mu_{i+1} - alpha lambda_{i+1} / (c1 d)
    nu'        = nu_{i+1} + alpha lambda_{i+1} m_{i+1} / (2 c1 c2 d^2 s)
    gamma_i    = (1 - b1) mu' + 2 (1 - b2) g_i nu'
    mu_i       = b1 mu',   nu_i = b2 nu'

Where v_{i+1} is zero, all gradients so far were zero, and the second term of nu' counts as zero, as in
higher.

References:
    Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, algorithm 1.
    Grefenstette et al., https://github.com/facebookresearch/higher, optim.py.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mct.inner.optimizers.optimizer import Pulled, Slots


@dataclass(frozen=True, slots=True)
class Adam:
    """Adam without weight decay.

    Example:
        >>> theta, zero = torch.tensor([1.0, 1.0]), torch.zeros(2)
        >>> gradient, rate = torch.tensor([3.0, -0.1]), torch.tensor(0.5)
        >>> Adam().update(0, theta, (zero, zero), gradient, rate)[0]
        tensor([0.5000, 1.5000])
    """

    betas: tuple[float, float] = (0.9, 0.999)
    """b1 and b2."""

    eps: float = 1e-8
    """eps."""

    slots = 2
    rescales = True

    def update(
        self, number: int, theta: Tensor, slots: Slots, gradient: Tensor, alpha: Tensor, /
    ) -> tuple[Tensor, Slots]:
        """Return theta_{i+1}, and m_{i+1} and v_{i+1}."""
        first, second = self.betas
        mean = (first * slots[0]).add_(gradient, alpha=1 - first)
        square = (second * slots[1]).addcmul_(gradient, gradient, value=1 - second)
        _, denominator = self._roots(number, square)
        rate = alpha / (1 - first ** (number + 1))
        return torch.addcmul(theta, mean / denominator, rate, value=-1), (mean, square)

    def adjoint(
        self,
        number: int,
        slots: Slots,
        gradient: Tensor,
        alpha: Tensor,
        theta_adjoint: Tensor,
        slot_adjoints: Slots,
        /,
    ) -> Pulled:
        """Return gamma_i, and the derivatives in theta_i, m_i, v_i and alpha."""
        (first, second), (mean, square) = self.betas, slots
        c1, c2 = 1 - first ** (number + 1), 1 - second ** (number + 1)
        root, denominator = self._roots(number, square)
        moved = mean / denominator / c1
        pulled = theta_adjoint * alpha / denominator
        bend = torch.where(square > 0, pulled * moved / (2 * c2 * root), 0)
        mu, nu = slot_adjoints[0] - pulled / c1, slot_adjoints[1] + bend
        gamma = ((1 - first) * mu).addcmul_(gradient, nu, value=2 * (1 - second))
        return Pulled(gamma, theta_adjoint, (first * mu, second * nu), moved @ theta_adjoint)

    def _roots(self, number: int, square: Tensor) -> tuple[Tensor, Tensor]:
        """Return s and d `(P,)`; autograd's derivative of s is 0, and not NaN, where s is zero."""
        moved = square > 0
        root = torch.where(moved, torch.where(moved, square, 1).sqrt(), 0)
        root = root / math.sqrt(1 - self.betas[1] ** (number + 1))
        return root, root + self.eps
