"""The protocol `InnerOptimizer`: an update of the student, and its adjoint.

An update is a function of the weights theta_i, of what the optimiser remembers (its slots), of the gradient
g_i, and of the step size alpha:

    theta_{i+1}, slots_{i+1} = U(theta_i, slots_i, g_i, alpha)

U is elementwise: element k of a result depends on element k of the vectors alone. Its adjoint takes the
derivatives of a loss in theta_{i+1} and slots_{i+1}, and returns those in theta_i, slots_i, g_i and alpha.
The caller accounts for the dependence of g_i on theta_i.

Slots are never computed backwards from later ones, because this multiplies rounding errors by 1 / beta^N. The
caller of the adjoint keeps the gradients, and computes the slots again from an earlier state.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

Slots = tuple[Tensor, ...]
"""What an optimiser remembers: `(P,)` each. `()` if it remembers nothing."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """The derivatives of a loss in what went into an update."""

    gradient: Tensor
    """`(P,)`: gamma_i, the derivative in g_i."""

    theta: Tensor
    """`(P,)`: the derivative in theta_i with g_i held fixed."""

    slots: Slots
    """`(P,)` each: the derivatives in slots_i."""

    rate: Tensor
    """`()`: minus the derivative in alpha."""


class InnerOptimizer(Protocol):
    """An elementwise update of P weights. It is pure: arguments are not changed."""

    @property
    def slots(self) -> int:
        """Number of vectors that it remembers. They begin as zeros."""
        ...

    @property
    def rescales(self) -> bool:
        """Whether an element moves by an amount that does not shrink with its gradient.

        Rounding errors in the place of zero gradients then move weights, and must be removed.
        """
        ...

    def update(
        self, number: int, theta: Tensor, slots: Slots, gradient: Tensor, alpha: Tensor, /
    ) -> tuple[Tensor, Slots]:
        """Return theta_{i+1} and slots_{i+1}.

        Args:
            number: i, from 0.
            theta: `(P,)`: theta_i.
            slots: `(P,)` each: slots_i.
            gradient: `(P,)`: g_i.
            alpha: `()`: the step size.
        """
        ...

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
        """Return the derivatives in what went into update i.

        Args:
            number: i, from 0.
            slots: `(P,)` each: slots_{i+1}, after the update.
            gradient: `(P,)`: g_i.
            alpha: `()`: the step size.
            theta_adjoint: `(P,)`: the derivative in theta_{i+1}.
            slot_adjoints: `(P,)` each: the derivatives in slots_{i+1}.
        """
        ...
