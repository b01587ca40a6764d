"""The updates of one outer step: every learned value changes by its own rule.

The gradients come from `samples`; `guards` checks whether the result can be used.
"""

from collections.abc import Mapping
from dataclasses import replace

from mct.distillation.state import State
from mct.inner.unroll import Gradients
from mct.learned import labels
from mct.learned.value import IMAGES, LABELS, RATE, Memory, Name, Update, Value


def update(state: State, gradients: Gradients, updates: Mapping[Name, Update]) -> State:
    """Return the state after an update, with the same random generator and the same best images.

    Args:
        state: The learned values, and what their updates remember.
        gradients: d loss / d images, d loss / d alpha and, if labels are learned, d loss / d targets.
        updates: For each learned value its update.
    """
    now = state.synthetic
    slopes: dict[Name, Value] = {IMAGES: gradients.images, RATE: gradients.learning_rate}
    if gradients.targets is not None and now.soft_labels is not None:
        slopes[LABELS] = labels.gradient(now.soft_labels, gradients.targets)
    values: dict[Name, Value] = {}
    memory: dict[Name, Memory] = {}
    for name, rule in updates.items():
        before = now.values[name]
        values[name], memory[name] = rule(before, slopes[name], state.memory[name], state.step)
    return replace(state, synthetic=now.learned(values), memory=memory)


def counted(state: State, *, refused: bool = False) -> State:
    """Return the state with one more outer step done."""
    now = state.synthetic
    origin = replace(now.run, outer_step=state.step + 1)
    return replace(state, synthetic=replace(now, origin=origin), refused=state.refused + refused)
