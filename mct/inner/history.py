"""The path of a student whose optimiser has a memory, kept as gradients from which each part is computed.

An update costs a few elementwise operations once its gradient is known. Of the updates that are
differentiated, only the gradients are therefore kept, and weights and slots after every k-th of them. What
lies between is computed again, by the same operations in the same order, and so with the same bits. With
k = sqrt(W) for W updates that is W + 2 (1 + slots) sqrt(W) vectors, where all weights and slots would be
(2 + slots) W. Of the updates before these, the weights are kept.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from math import isqrt
from typing import NamedTuple, overload

from torch import Tensor

from mct.inner.optimizers.optimizer import InnerOptimizer, Slots


class Stand(NamedTuple):
    """A student between two updates."""

    theta: Tensor
    """`(P,)`."""

    slots: Slots
    """`(P,)` each: what the optimiser remembers."""


class History(Sequence[Tensor]):
    """theta_0 … theta_N, `(P,)` each, and the slots of the optimiser on the way.

    It is written once, by `advance`. Everything that is computed again is a new tensor.

    Args:
        optimizer: The update.
        start: theta_0 and zero slots.
        alpha: `()`: the step size.
        first: Number of the first update whose gradient is kept.
        gradients: `(P,)` each: places for the gradients of the updates from `first` on.
    """

    def __init__(
        self, optimizer: InnerOptimizer, start: Stand, alpha: Tensor, first: int, gradients: Sequence[Tensor]
    ) -> None:
        self._optimizer, self._alpha, self._gradients = optimizer, alpha, gradients
        self._spacing = max(1, isqrt(len(gradients)))
        self._before: list[Tensor] = []  # theta_i for i < first
        self._stands: list[Stand] = []  # at first, first + k, first + 2 k, …
        self._last, self.first, self._count = start, first, 0

    def advance(self, gradient: Tensor) -> None:
        """Do the next update.

        Args:
            gradient: `(P,)`: of the loss at the last weights.
        """
        number, last = self._count, self._last
        if number < self.first:
            self._before.append(last.theta)
        else:
            if (number - self.first) % self._spacing == 0:
                self._stands.append(last)
            self._gradients[number - self.first].copy_(gradient)
        self._last = Stand(*self._optimizer.update(number, *last, gradient, self._alpha))
        self._count += 1

    def gradient(self, number: int) -> Tensor:
        """Return the gradient `(P,)` of an update, from `first` on."""
        return self._gradients[number - self.first]

    @property
    def last(self) -> Tensor:
        """theta_N `(P,)` after the updates so far."""
        return self._last.theta

    def backward(self) -> Iterator[tuple[int, Tensor, Slots]]:
        """Yield for every update from the last down to `first`: number i, theta_i and slots_{i+1}."""
        end = self._count
        for segment in reversed(range(len(self._stands))):
            begin = self.first + segment * self._spacing
            stands = list(islice(self._from(segment), end - begin + 1))
            for number in reversed(range(begin, end)):
                after = stands.pop()
                yield number, stands[-1].theta, after.slots
            end = begin

    def _from(self, segment: int) -> Iterator[Stand]:
        """Yield the stands from that of a segment on, by computing updates again."""
        number, stand = self.first + segment * self._spacing, self._stands[segment]
        yield stand
        while number < self._count:
            updated = self._optimizer.update(number, *stand, self.gradient(number), self._alpha)
            stand, number = Stand(*updated), number + 1
            yield stand

    def __len__(self) -> int:
        return self._count + 1

    def __iter__(self) -> Iterator[Tensor]:
        yield from self._before
        for begin in range(self.first, self._count, self._spacing):
            count = min(self._spacing, self._count - begin)
            segment = self._from((begin - self.first) // self._spacing)
            yield from (stand.theta for stand in islice(segment, count))
        yield self.last

    @overload
    def __getitem__(self, index: int, /) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[Tensor]: ...
    def __getitem__(self, index: int | slice, /) -> Tensor | list[Tensor]:
        """Return weights `(P,)`, or a list of them."""
        numbers = range(len(self))[index]
        if isinstance(numbers, range):
            wanted = set(numbers)
            found = {number: theta for number, theta in enumerate(self) if number in wanted}
            return [found[number] for number in numbers]
        if numbers == self._count:
            return self.last
        if numbers < self.first:
            return self._before[numbers]
        segment, offset = divmod(numbers - self.first, self._spacing)
        return next(islice(self._from(segment), offset, None)).theta
