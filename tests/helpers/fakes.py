"""In-memory bundles for tests: eqs. 8 to 10 written down once more, independently of trajfmt."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import trajfmt

Array = NDArray[np.floating]
SHAPES = [("a.weight", (5, 3)), ("a.bias", (5,)), ("b.weight", (2, 5)), ("b.bias", (2,))]


@dataclass(frozen=True)
class FakeTrajectory:
    """A trajectory with all its waypoints in memory."""

    theta: Array
    layout: trajfmt.ParamLayout
    knots: tuple[int, ...]
    discrete: bool

    @property
    def last(self) -> int:
        """T."""
        return len(self.theta) - 1

    def knot(self, k: int) -> Array:
        """Return a knot, read-only."""
        view = self.theta[self.knots[k]].view()
        view.flags.writeable = False
        return view

    def locate(self, t: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return segment and weight of every layer."""
        u = np.array([np.interp(t, range(self.last + 1), curve) for curve in self._curves()])
        segment = np.minimum(np.floor(u).astype(np.int64), len(self.knots) - 2)
        return segment, u - segment

    def _curves(self) -> list[Array]:
        offsets, curves = self.layout.offsets, []
        for layer in self.layout.layers:
            columns = np.concatenate([np.arange(offsets[p], offsets[p + 1]) for p in layer.parameters])
            part = self.theta[:, columns].astype(np.float64)
            steps = np.linalg.norm(np.diff(part, axis=0), axis=1)
            curve = np.zeros(self.last + 1)
            for s, (a, b) in enumerate(zip(self.knots, self.knots[1:], strict=False)):
                total = steps[a:b].sum()
                share = np.cumsum(steps[a:b]) / total if total else np.arange(1, b - a + 1) / (b - a)
                curve[a + 1 : b + 1] = s + share
                curve[b] = s + 1
            curves.append(curve)
        return curves

    def at(self, t: float) -> Array:
        """Return the weights at t in float64, the slow way."""
        segment, weight = self.locate(t)
        out = np.empty(self.layout.size)
        offsets = self.layout.offsets
        for p, layer in enumerate(self.layout.layer_of_parameter):
            at, w, s = slice(offsets[p], offsets[p + 1]), weight[layer], int(segment[layer])
            low, high = (self.theta[self.knots[k]][at].astype(np.float64) for k in (s, s + 1))
            out[at] = (1 - w) * low + w * high
        return out


class FakeBundle:
    """Trajectories of one layout; `knots` None makes a `full` bundle."""

    def __init__(
        self, thetas: list[Array], layout: trajfmt.ParamLayout, *, knots: tuple[int, ...] | None = ()
    ) -> None:
        self.layout = layout
        self.encoding = "full" if knots is None else "convex"
        self._items = []
        for theta in thetas:
            last = len(theta) - 1
            chosen = tuple(range(last + 1)) if knots is None else (0, *knots, last)
            self._items.append(FakeTrajectory(theta, layout, chosen, knots is None))

    def __len__(self) -> int:
        """Return the number of trajectories."""
        return len(self._items)

    def __getitem__(self, index: int) -> FakeTrajectory:
        """Return a trajectory."""
        return self._items[index]


def random_walk(layout: trajfmt.ParamLayout, last: int, seed: int = 0, *, dtype: str = "float32") -> Array:
    """Return `(last+1, P)` weights that wander, with steps that shrink."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(last, layout.size)) / np.sqrt(np.arange(1, last + 1))[:, None]
    path = np.concatenate([rng.normal(size=(1, layout.size)), 0.1 * steps])
    walk: Array = np.cumsum(path, axis=0).astype(dtype)
    return walk


def bundle_of(knots=(), *, layers="tensor", last=8, count=2, dtype="float32") -> FakeBundle:
    """Return a bundle of random walks."""
    layout = trajfmt.ParamLayout.of(SHAPES, layers=layers)
    return FakeBundle([random_walk(layout, last, seed, dtype=dtype) for seed in range(count)], layout,
                      knots=knots)  # fmt: skip


def written(tmp_path: Path, bundle, digits, model, **facts) -> Path:
    """Write the fake bundle as a real one."""
    record = trajfmt.Provenance(
        **({"dataset": "digits", "model": model, "preprocessing": digits.transform.record} | facts)
    )
    path = tmp_path / "a.mct"
    with trajfmt.create(path, bundle.layout, encoding="convex", knots=(2,), provenance=record) as writer:
        for item in bundle._items:
            writer.add(trajfmt.ArrayTrajectory(item.theta, bundle.layout))
    return path
