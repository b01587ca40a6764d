"""N student updates by an optimiser that has a memory, and the exact gradient through them.

As in `unroll`, but update i is that of an `InnerOptimizer`, whose adjoint gives gamma_i, the derivative in
the gradient g_i, in the place of -alpha lambda_{i+1}:

    h_i             = g_i + w theta_i           with weight decay w
    gamma_i, kappa  = the adjoint of the update at h_i
    d/d batch_i     = d/d batch <g_i, gamma_i>
    d/d targets_i   = d/d targets <g_i, gamma_i>
    lambda_i        = lambda_{i+1} + H_i gamma_i + w gamma_i + eta_i

where kappa stands for the adjoints of what the optimiser remembers. Weight decay is thus that of
`torch.optim`: the gradient of w/2 ||theta||^2, which is added to the loss.

A network may have parameters that do not change its output, such as the bias of a convolution in front of a
norm. Their gradient is zero, but autograd returns rounding errors in its place. An optimiser that rescales
gradients, such as Adam, would move these parameters as fast as all others, and its derivative, which grows
with the inverse of the gradient, would carry the noise into the gradients of the images. There, gradients of
these parameters are set to zero (docs/decisions/0025-inner-optimizers.md).
"""

import torch
from torch import Tensor

from mct.inner.history import History, Stand
from mct.inner.loop import Loop
from mct.inner.optimizers.optimizer import InnerOptimizer, Slots
from mct.inner.steps.step import InnerStep, Kept
from mct.inner.unroll import ExactUnroll
from mct.objectives.objective import LossAndAdjoint, Path
from mct.runtime.clock import Clock
from mct.runtime.ranks import Ranks


class OptimizedUnroll(ExactUnroll):
    """The recursion for any inner optimiser.

    Args:
        step: The network and its loss.
        optimizer: The update.
        decay: w, the weight decay.
        idle: `(P,)` bool, packed: parameters whose gradient is set to zero, because they do not change the
            output of the network; None: none.
        keep_bytes: Bytes that may be spent on activations.
        step_images: How many images' activations may exist at once; None: those of a whole batch.
        shard: Compute only this process's share of every batch.
        clock: Records the seconds of `augment`, `forward` and `adjoint`.

    Raises:
        ConfigError: A batch is to be computed in parts, but the network has batch norm.
    """

    def __init__(
        self,
        step: InnerStep,
        optimizer: InnerOptimizer,
        *,
        decay: float = 0.0,
        idle: Tensor | None = None,
        keep_bytes: int = 0,
        step_images: int | None = None,
        shard: Ranks | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(step, keep_bytes=keep_bytes, step_images=step_images, shard=shard, clock=clock)
        self._optimizer, self._decay, self._idle = optimizer, decay, idle

    def forward(self, loop: Loop, theta: Tensor) -> tuple[Path, dict[int, Kept]]:
        """Return theta_0 … theta_N, `(P,)` each, and the kept activations by number of the update."""
        count = len(loop.targets)
        zeros: Slots = tuple(torch.zeros_like(theta) for _ in range(self._optimizer.slots))
        rows = self._rows(count - loop.first, theta)
        history = History(self._optimizer, Stand(theta, zeros), loop.alpha, loop.first, rows)
        kept = dict[int, Kept]()
        self.kept_bytes = self.kept_updates = 0
        for number in range(count):
            gradient, memory = self._gradient(loop, number, history.last)
            if memory:
                kept[number] = memory
            gradient = self._without_idle(gradient)
            if self._decay:
                gradient = torch.add(gradient, history.last, alpha=self._decay)
            history.advance(gradient)
        return history, kept

    def adjoint(self, loop: Loop, path: Path, kept: dict[int, Kept], end: LossAndAdjoint) -> Tensor:
        """Run the recursion down to lambda_0, and return minus each update's part in d loss / d alpha `(N,)`.

        The gradients in pixels and targets are added to `loop`. `kept` is emptied on the way.
        """
        assert isinstance(path, History)
        count, theta_0 = len(loop.targets), path[0]
        inner = torch.zeros(count, dtype=torch.float64, device=theta_0.device)
        one = torch.ones_like(loop.alpha)
        adjoint: Tensor | None = None
        slots: Slots = tuple(torch.zeros_like(theta_0) for _ in range(self._optimizer.slots))
        for number, theta, after in path.backward():
            memory, eta = kept.pop(number, ()), end.at(number + 1, count)
            if eta is not None:
                adjoint = eta if adjoint is None else adjoint + eta
            if adjoint is None:
                continue  # The loss does not depend on this update.
            gradient = path.gradient(number)
            pulled = self._optimizer.adjoint(number, after, gradient, loop.alpha, adjoint, slots)
            inner[number], slots = pulled.rate, pulled.slots
            gamma = self._without_idle(pulled.gradient)
            _, hvp = self._vjp_hvp(loop, number, theta, gamma, memory, one)
            adjoint = pulled.theta + hvp
            if self._decay:
                adjoint.add_(pulled.gradient, alpha=self._decay)
        return inner

    def _without_idle(self, vector: Tensor) -> Tensor:
        return vector if self._idle is None else vector.masked_fill(self._idle, 0)
