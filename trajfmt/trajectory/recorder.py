"""Convexify a trajectory during training, without storing its waypoints.

As the paper remarks under eq. 9, a step norm needs only the current weights and one copy of the previous
ones. The result is bit for bit the same as that of converting all timesteps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajfmt.errors import SourceError, UsageError, display, non_finite
from trajfmt.schema.arguments import unmasked, wholes
from trajfmt.schema.layout import ParamLayout
from trajfmt.trajectory.averaging import average, check_average, needed
from trajfmt.trajectory.beta import check_knots
from trajfmt.trajectory.measure import Digest, Measure, Measured, mean
from trajfmt.trajectory.source import columns

__all__ = ["PathRecorder", "Recorded"]

Array = NDArray[np.generic]
Arrays = Mapping[str, Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A convexified trajectory in memory, to be passed to `BundleWriter.add`."""

    layout: ParamLayout
    """The parameter layout, whose layers the step norms have."""

    timesteps: int
    """Number of timesteps, T + 1."""

    knots: tuple[int, ...]
    """Timesteps of the knots, from 0 to T."""

    smoothed: bool
    """Whether inserted waypoints and the last timestep were averaged with their neighbours."""

    averaged: int = 1
    """Number of timesteps of which every knot but the first is the mean."""

    rows: tuple[Array, ...]
    """The weights `(P,)` at each knot."""

    measured: Measured

    held: tuple[Arrays, ...] = field(default=())
    """The module buffers at each knot, by name; empty if there are none."""

    numbers: tuple[int, ...] | None = None
    """Number of each timestep, if it does not follow from the facts of the bundle."""

    def buffers(self, t: int) -> Arrays:
        """Return the module buffers at the timestep of a knot, by name."""
        return self.held[self.knots.index(t)] if self.held else {}


class PathRecorder:
    """Convexify a trajectory whose timesteps arrive one after another.

    Memory holds the knots so far, one copy of the weights (two with `smooth`, and `average` + 1 with that),
    their module buffers, and the step norms.

    Args:
        layout: the parameter layout.
        knots: timesteps of the waypoints to insert between the endpoints.
        smooth: average inserted waypoints and the last timestep with their neighbours, as `trajfmt.create`
            does.
        average: number of timesteps of which every knot but the first is the mean, as for `trajfmt.create`.
    """

    def __init__(
        self, layout: ParamLayout, *, knots: Sequence[int] = (), smooth: bool = False, average: int = 1
    ) -> None:
        self._layout = layout
        inserted = wholes("knots", knots)
        self._inserted = check_knots((0, *inserted), inserted[-1])[1:] if inserted else ()
        self._smooth = smooth
        self._average = check_average(average, inserted=self._inserted, smooth=smooth)
        # A timestep is settled when it is known whether a mean takes its place. At the last one, it may.
        self._delay = 0 if average == 1 else max(1, average // 2) if inserted else 1
        self._settled: Array | None = None
        self._rows: dict[int, Array] = {}
        self._held: dict[int, Arrays] = {}
        self._norms: list[NDArray[np.float64]] = []
        self._moves = False
        self._count = 0
        self._recent: list[Array] = []

    def __len__(self) -> int:
        return self._count

    def add(self, theta: Array, buffers: Arrays | None = None) -> None:
        """Add the weights of the next timestep.

        Args:
            theta: the weights `(P,)` in the dtype of the parameter layout. They are copied.
            buffers: the module buffers by name, such as running statistics. They are copied, and kept at the
                knots. They are never averaged.

        Raises:
            SourceError: a weight is not finite. The message names the timestep and the parameter.
            UsageError: size or dtype differ from the parameter layout, or elements are masked.
            TypeError: the weights are no array of numpy.
        """
        t, layout = self._count, self._layout
        theta = unmasked("the weight vector", theta)
        if theta.shape != (layout.size,) or theta.dtype.newbyteorder("=") != layout.numpy_dtype:
            raise UsageError(
                f"the weights must be ({layout.size},) {layout.dtype}, got {theta.shape} {theta.dtype}"
            )
        theta = theta.astype(layout.numpy_dtype)
        held = {name: _copy(name, values) for name, values in (buffers or {}).items()}
        if self._delay or not t:
            self._measure(theta, theta)  # only to refuse weights that are not finite
        recent = [*self._recent, theta][-max(self._average, 2 if self._smooth else self._delay + 1) :]
        if not t:
            self._rows[0] = self._settled = theta
        elif t > self._delay:
            self._settle(t - self._delay, recent)
        if self._smooth and t - 1 in self._inserted:
            self._rows[t - 1] = mean(self._recent[-2], theta)
        self._recent = recent
        if t - 1 not in (0, *self._inserted):
            self._held.pop(t - 1, None)
        self._held[t] = held
        self._count += 1

    def _settle(self, t: int, recent: Sequence[Array]) -> None:
        """Measure the step to timestep t, or to the mean in its place, and keep it if it is a knot."""
        inner = t in self._inserted
        row = recent[-1 - self._delay]
        if inner and self._average > 1:
            row = average(recent[-self._average :])
        assert self._settled is not None
        measured = self._measure(self._settled, row)
        self._norms.append(measured.step_norms[0])
        self._moves |= measured.moves
        if inner and not self._smooth:
            self._rows[t] = row
        self._settled = row

    def state(self) -> dict[str, Array]:
        """Return what this recorder holds, by name, for `restore` of another recorder with the same settings.

        The arrays are those of the recorder and must not be changed: `rows.T` and `recent.N` are weights
        `(P,)`, `held.T.NAME` are module buffers, `norms` are the step norms that are known `(n, L)`, and
        `count` and `moves` are scalars. With `average`, `settled` is where the next step begins.
        """
        arrays: dict[str, Array] = {f"rows.{t}": row for t, row in self._rows.items()}
        arrays |= {f"recent.{n}": row for n, row in enumerate(self._recent)}
        arrays |= {f"held.{t}.{name}": x for t, held in self._held.items() for name, x in held.items()}
        if self._delay and self._settled is not None:
            arrays["settled"] = self._settled
        norms = np.reshape(np.array(self._norms, np.float64), (-1, self._layout.num_layers))
        return arrays | {"norms": norms, "count": np.array(self._count), "moves": np.array(self._moves)}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Continue from a state: this recorder becomes equal to the one that returned it.

        Example:
            >>> import numpy as np
            >>> from trajfmt import ParamLayout
            >>> from trajfmt.trajectory import PathRecorder
            >>> layout = ParamLayout.of([("w", (2,))])
            >>> first, second = PathRecorder(layout), PathRecorder(layout)
            >>> for t in range(3):
            ...     first.add(np.full(2, t, np.float32))
            >>> second.restore(first.state())
            >>> len(second), second.finish().measured.digest == first.finish().measured.digest
            (3, True)

        Args:
            state: what `state` of a recorder with the same layout and settings has returned.

        Raises:
            UsageError: this recorder has recorded something already, or the state is of another layout.
        """
        if self._count:
            raise UsageError(
                f"a state is restored before anything is recorded, but {self._count} timesteps are"
            )
        weights = {
            name: row for name, row in state.items() if name.startswith(("rows.", "recent.", "settled"))
        }
        odd = [name for name, row in weights.items() if row.shape != (self._layout.size,)]
        norms = state.get("norms")
        known = max(0, int(state["count"]) - 1 - self._delay)
        if odd or norms is None or norms.shape != (known, self._layout.num_layers):
            raise UsageError(f"the state is of another parameter layout, or damaged: {(odd or ['norms'])[0]}")
        for name, row in weights.items():
            kind, _, number = name.partition(".")
            if kind == "rows":
                self._rows[int(number)] = row
        self._recent = [weights[f"recent.{n}"] for n in range(sum(n.startswith("recent.") for n in weights))]
        self._settled = weights.get("settled", self._recent[-1] if self._recent and not self._delay else None)
        self._count, self._moves = int(state["count"]), bool(state["moves"])
        self._norms = list(norms.astype(np.float64))
        held: dict[int, dict[str, Array]] = {t: {} for t in (0, *self._inserted, self._count - 1)}
        for name, values in state.items():
            kind, _, rest = name.partition(".")
            if kind == "held":
                number, _, own = rest.partition(".")
                held[int(number)][own] = values
        self._held.update(held)

    def _measure(self, before: Array, after: Array) -> Measured:
        measure = Measure(2, self._layout)
        try:
            for block in columns(_Pair(before, after, self._layout), self._layout):
                measure.add(block)
        except SourceError as exc:
            if exc.timestep is None:
                raise
            raise non_finite(self._count, exc.parameter) from exc  # the previous timestep was finite
        return measure.result()

    def finish(self, *, cut: bool = False) -> Recorded:
        """Return the trajectory recorded so far. More timesteps may be added afterwards.

        Args:
            cut: leave out inserted waypoints that are not before the last timestep, or whose mean needs later
                timesteps. If none is left, nothing is smoothed. If fewer timesteps than `average` follow the
                first one, the last knot is the mean of these. By default such a trajectory is refused.

        Raises:
            SourceError: fewer than two timesteps were recorded, or, unless `cut`, none after the last
                inserted waypoint, or not all of which a knot is the mean.
        """
        last, count = self._count - 1, self._average
        inserted = self._inserted
        if cut:
            inserted = tuple(t for t in inserted if t + max(1, count // 2) <= last)
            count = min(count, max(1, last))
        if last < 1 or self._count < needed(inserted, count):
            least = needed(inserted, count)
            raise SourceError(
                "too_few_timesteps",
                f"recorded {self._count} timestep{'s' * (self._count != 1)}, {least} are needed",
            )
        smoothed = self._smooth and bool(inserted)
        end = average(self._recent[-count:]) if count > 1 else self._recent[-1]
        norms, moves = self._rest(end)
        digest = Digest(self._count, self._layout.numpy_dtype)
        digest.add(0, self._rows[0])
        digest.add(last, end)
        return Recorded(
            layout=self._layout,
            timesteps=self._count,
            knots=(0, *inserted, last),
            smoothed=smoothed,
            averaged=count,
            rows=(*(self._rows[t] for t in (0, *inserted)), mean(self._recent[-2], end) if smoothed else end),
            measured=Measured(norms, None, digest.digest(), moves),
            held=tuple(self._held[t] for t in (0, *inserted, last)),
        )

    def _rest(self, end: Array) -> tuple[NDArray[np.float64], bool]:
        """Return the step norms `(T, L)`, and whether the weights change, if the path ends in `end`."""
        norms, moves, before = list(self._norms), self._moves, self._settled
        unsettled = min(self._delay, self._count - 1)
        for row in [*self._recent[-unsettled:-1], end] if unsettled else []:
            assert before is not None
            measured = self._measure(before, row)
            norms.append(measured.step_norms[0])
            moves |= measured.moves
            before = row
        return np.stack(norms), moves


def _copy(name: str, values: Any) -> Array:
    """Return a copy of a module buffer, so that what becomes of the original does not matter."""
    return unmasked(f"the module buffer `{display(name)}`", np.ma.array(values, subok=True, copy=True))


class _Pair:
    """Two timesteps as a `Source`."""

    timesteps = 2

    def __init__(self, before: Array, after: Array, layout: ParamLayout) -> None:
        self._rows = (before, after)
        self._offsets = layout.offsets

    def read(self, t: int, parameter: int) -> Array:
        """Return a view of one parameter, flattened."""
        return self._rows[t][self._offsets[parameter] : self._offsets[parameter + 1]]
