"""The updates of one outer step: every learned value changes by its own rule.

The gradients come from `samples`; `guards` checks whether the result can be used.
"""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from mct.distillation.state import State
from mct.errors import ConfigError
from mct.inner.unroll import Gradients
from mct.learned import labels
from mct.learned.limits import Clipped, NonNegative
from mct.learned.updates import Adam, Averaged, Halved, Partial, Sgd, shown
from mct.learned.value import IMAGES, LABELS, RATE, Memory, Name, Update, Value
from mct.runtime import usercode


def update(state: State, gradients: Gradients, updates: Mapping[Name, Update]) -> State:
    """Return the state after an update, with the same random generator and the same best images.

    Args:
        state: The learned values, and what their updates remember.
        gradients: d loss / d images, d loss / d alpha and, if labels are learned, d loss / d targets, of the
            last stage.
        updates: For each learned value its update.
    """
    now = state.synthetic
    slopes: dict[Name, Value] = {IMAGES: gradients.images, RATE: gradients.learning_rate}
    if gradients.targets is not None and now.soft_labels is not None:
        free = now.is_rows  # every number of a row is a value of its own
        soft = now.soft_labels[now.fixed :]
        slopes[LABELS] = gradients.targets if free else labels.gradient(soft, gradients.targets)
    values: dict[Name, Value] = {}
    memory: dict[Name, Memory] = {}
    for name, rule in updates.items():
        before, slope, kept = now.values[name], slopes[name], state.memory[name]
        if not _is_pure(rule):  # It may change its arguments, which the state and its best images share.
            before, slope = _copied(before), _copied(slope)
            kept = {part: _copied(value) for part, value in kept.items()}
        values[name], memory[name] = _updated(name, rule, before, slope, kept, state.step - state.refused)
    return replace(state, synthetic=now.learned(values), memory=memory)


def started(name: Name, rule: Update, value: Value) -> dict[str, Value]:
    """Return what an update remembers before the first step.

    Raises:
        ConfigError: The code of an update of the user's fails, or returns something else.
    """
    if _is_pure(rule):
        return rule.start(value)
    with usercode.failures(f"the update of `{name}`, {shown(rule)},", "method"):
        found = rule.start(_copied(value))
    if not _is_memory(found):
        raise ConfigError(
            f"`start` of the update of `{name}`, {shown(rule)}, must return a dictionary of tensors and "
            f"numbers by name, got {_kind(found)}"
        )
    return found


def _is_memory(found: object) -> bool:
    return isinstance(found, Mapping) and all(
        isinstance(part, str) and isinstance(value, (Tensor, float, int)) for part, value in found.items()
    )


def _kind(found: object) -> str:
    """Return what something is, in a few words of one line."""
    if isinstance(found, Mapping):
        return "{" + ", ".join(f"{part!r}: {type(value).__name__}" for part, value in found.items()) + "}"
    if isinstance(found, tuple):
        return f"({', '.join(map(_kind, found))})"
    return type(found).__name__


def _updated(
    name: Name, rule: Update, value: Value, slope: Value, memory: Memory, number: int
) -> tuple[Value, Memory]:
    """Return a value after an update, and what the update remembers.

    Raises:
        ConfigError: The code of an update of the user's fails, or returns something else.
    """
    if _is_pure(rule):
        return rule(value, slope, memory, number)
    with usercode.failures(f"the update of `{name}`, {shown(rule)},", "method"):
        found = rule(value, slope, memory, number)
    if not (isinstance(found, tuple) and len(found) == 2 and _is_memory(found[1])):
        raise ConfigError(
            f"the update of `{name}`, {shown(rule)}, must return a pair: the value, and a dictionary "
            f"of tensors and numbers by name, got {_kind(found)}"
        )
    _require_like(name, rule, value, found[0])
    return found


def _is_pure(rule: Update) -> bool:
    """Return whether an update is known to leave its arguments as they are."""
    if isinstance(rule, (Averaged, Halved, Partial, Clipped, NonNegative)):
        return _is_pure(rule.update)
    return isinstance(rule, (Sgd, Adam))


def _copied(value: Value) -> Value:
    return value.clone() if isinstance(value, Tensor) else value


def _require_like(name: Name, rule: Update, before: Value, after: Value) -> None:
    """Require that an update has returned what a value may become.

    Raises:
        ConfigError: It is of another kind or shape.
    """
    if isinstance(before, Tensor):
        fits = isinstance(after, Tensor) and (after.shape, after.dtype) == (before.shape, before.dtype)
        wanted = f"a tensor {tuple(before.shape)} of {before.dtype}"
    else:
        fits, wanted = isinstance(after, (float, int)), "a number"
    if not fits:
        found = (
            f"{tuple(after.shape)} of {after.dtype}" if isinstance(after, Tensor) else type(after).__name__
        )
        raise ConfigError(f"the update of `{name}`, {shown(rule)}, must return {wanted}, got {found}")


def advanced(state: State, *, refused: bool = False) -> State:
    """Return the state with one more outer step done."""
    now = state.synthetic
    origin = replace(now.run, outer_step=state.step + 1)
    return replace(state, synthetic=replace(now, origin=origin), refused=state.refused + refused)
