"""An objective of a user's own code, whose mistakes are one line each.

Errors that mct and trajfmt raise, such as those of a damaged bundle, stay as they are, and so does exhausted
memory. Anything else that the code raises, or returns where something else was expected, is a `ConfigError`
that names the class and the method.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import torch
from torch import Tensor

from mct.errors import ConfigError, MctError
from mct.objectives.objective import LossAndAdjoint, Objective, ObjectiveSample, Path, Place
from mct.runtime.memory import is_exhausted
from trajfmt.errors import TrajfmtError

T = TypeVar("T")

_OURS: Final = "mct."
"""Beginning of the modules of the classes that need no guard."""


def made(make: Callable[[T], Objective], scene: T) -> Objective:
    """Return the objective that is made from a scene or a stream.

    Raises:
        ConfigError: Code of the user's fails, or makes something else than an objective.
    """
    code = make.func if isinstance(make, partial) else make
    if getattr(code, "__module__", "").startswith(_OURS):
        return guarded(make(scene))
    with _failures(getattr(code, "__name__", type(code).__name__)):
        objective = make(scene)
    return guarded(objective)


def guarded(objective: Objective) -> Objective:
    """Return an objective whose mistakes are one line each; one of this package as it is.

    Raises:
        ConfigError: It is something else than an objective.
    """
    if type(objective).__module__.startswith(_OURS):
        return objective
    for name in ("largest_loss", "draw", "expect", "begin"):
        if not hasattr(objective, name):
            raise ConfigError(
                f"the objective {type(objective).__name__} has no `{name}`; a class of your own implements "
                "mct.objectives.Objective, or derives from one of its objectives"
            )
    return Guarded(objective)


class Guarded:
    """An objective of the user's.

    Args:
        objective: The objective.
    """

    def __init__(self, objective: Objective) -> None:
        self._own, self._name = objective, type(objective).__name__

    @property
    def largest_loss(self) -> float:
        """A loss above this ends the run."""
        return self._own.largest_loss

    def draw(self, generator: torch.Generator, step: int, /) -> Place:
        """Draw the place of one sample.

        Raises:
            ConfigError: The code failed, or returned something else than a place.
        """
        with _failures(f"{self._name}.draw"):
            found = self._own.draw(generator, step)
        return _required(f"{self._name}.draw", found, Place)

    def expect(self, place: Place, /) -> None:
        """Begin to load what a sample needs.

        Raises:
            ConfigError: The code failed.
        """
        with _failures(f"{self._name}.expect"):
            self._own.expect(place)

    def begin(self, place: Place, /, *, out: Tensor | None = None) -> ObjectiveSample:
        """Return the sample at a place.

        Raises:
            ConfigError: The code failed, or returned something that has no weights.
        """
        with _failures(f"{self._name}.begin"):
            found = self._own.begin(place, out=out)
            weights = found.weights
        if not isinstance(weights, Tensor) or weights.ndim != 1:
            raise ConfigError(
                f"`method`: {self._name}.begin must return a sample whose `weights` are a tensor (P,), got "
                f"{_shown(weights)}"
            )
        return _GuardedSample(weights, found, self._name)

    def teacher(self, place: Place, /) -> Tensor:
        """Return the weights whose outputs are the labels.

        Raises:
            ConfigError: The class has none, or its code failed.
        """
        if not hasattr(self._own, "teacher"):
            raise ConfigError(
                f"`labels` teacher needs the weights of a teacher, but the objective {self._name} has no "
                "method `teacher`; write one, or choose other labels"
            )
        with _failures(f"{self._name}.teacher"):
            found = self._own.teacher(place)
        return _required(f"{self._name}.teacher", found, Tensor)


@dataclass(frozen=True, slots=True)
class _GuardedSample:
    """A sample of an objective of the user's."""

    weights: Tensor
    """theta_0 `(P,)`."""

    _own: ObjectiveSample
    _name: str

    def loss_and_adjoint(self, path: Path, /, *, out: Tensor | None = None) -> LossAndAdjoint:
        """Return the loss of a student, and its derivatives in the weights.

        Raises:
            ConfigError: The code failed, or returned derivatives of another shape or type.
        """
        what = f"{self._name}: loss_and_adjoint"
        with _failures(what):
            found = self._own.loss_and_adjoint(path, out=out)
        found = _required(what, found, LossAndAdjoint)
        if not isinstance(found.loss, (int, float)) and not (
            isinstance(found.loss, Tensor) and not found.loss.ndim
        ):
            raise ConfigError(f"`method`: {what} must return a number as the loss, got {_shown(found.loss)}")
        last = path[-1]
        for slope in (found.adjoint, *found.earlier.values()):
            if slope is not None and not _like(slope, last):
                raise ConfigError(
                    f"`method`: {what} must return derivatives {tuple(last.shape)} of {last.dtype}, got "
                    f"{_shown(slope)}"
                )
        return found


def _like(found: object, wanted: Tensor) -> bool:
    return isinstance(found, Tensor) and (found.shape, found.dtype) == (wanted.shape, wanted.dtype)


def _required(what: str, found: T, kind: type[T]) -> T:
    """Return what the user's code has returned.

    Raises:
        ConfigError: It is of another type.
    """
    if not isinstance(found, kind):
        raise ConfigError(f"`method`: {what} must return a {kind.__name__}, got {_shown(found)}")
    return found


def _shown(found: object) -> str:
    if isinstance(found, Tensor):
        return f"a tensor {tuple(found.shape)} of {found.dtype}"
    return type(found).__name__


@contextlib.contextmanager
def _failures(what: str) -> Iterator[None]:
    """Convert an exception of the user's code to a `ConfigError` of one line."""
    try:
        yield
    except (MctError, TrajfmtError, OSError):
        raise
    except Exception as exc:
        if is_exhausted(exc):
            raise
        reason = str(exc).partition("\n")[0]
        raise ConfigError(f"`method`: {what} raised {type(exc).__name__}: {reason}") from exc
