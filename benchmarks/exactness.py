"""How exact a conversion is, against the definitions of the paper computed independently in float64.

For a buffer (a real one by path, else random walks with a layer that never moves): endpoints bit for bit,
betas against eq. 9, weights at 100 random t and at every knot against eqs. 8 to 10, and the way through
`.mtt` and back with every codec.

    python benchmarks/exactness.py [replay_buffer_0.pt] [--knots 6,12]
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path

import numpy as np
import torch

import trajfmt
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert
from trajfmt.export.run import export


def make_buffer(path: Path, timesteps: int) -> None:
    generator = torch.Generator().manual_seed(1)
    shapes = [(8, 3, 3, 3), (8,), (8,), (8,), (10, 2048), (10,)]
    step = [torch.randn(shape, generator=generator) for shape in shapes]
    buffer = []
    for _ in range(timesteps):
        buffer.append([tensor.clone() for tensor in step])
        step = [t + 0.01 * torch.randn(t.shape, generator=generator) for t in step]
        step[1] = buffer[0][1].clone()  # never moves
    torch.save([buffer], path)


def reference_u(theta: list[np.ndarray], knots: list[int]) -> np.ndarray:
    """Eq. 9 between consecutive knots, for one parameter; rows are timesteps."""
    u = np.zeros(len(theta))
    for s, (a, b) in enumerate(itertools.pairwise(knots)):
        lengths = [np.linalg.norm((theta[t + 1] - theta[t]).ravel()) for t in range(a, b)]
        total = sum(lengths)
        for t in range(a, b + 1):
            u[t] = s + (sum(lengths[: t - a]) / total if total else (t - a) / (b - a))
    return u


def reference_at(theta: list[np.ndarray], u: np.ndarray, knots: list[int], c: float) -> np.ndarray:
    """Eqs. 8 and 10."""
    low = int(np.floor(c))
    eta = c - low
    position = u[low] if eta == 0 else (1 - eta) * u[low] + eta * u[low + 1]
    s = min(int(position), len(knots) - 2)
    beta = position - s
    return (1 - beta) * theta[knots[s]] + beta * theta[knots[s + 1]]


def examine(buffer: Path, inserted: tuple[int, ...], folder: Path) -> None:
    original = torch.load(buffer)
    target = folder / f"{len(inserted)}-{buffer.stem}.mct"
    convert(buffer, target, ConvertOptions(knots=inserted))
    random = np.random.default_rng(0)
    beta_error = weight_error = 0.0
    identical = True
    with trajfmt.open(target, verify=True) as bundle:
        for trajectory, steps in zip(bundle, original, strict=True):
            knots = [0, *inserted, len(steps) - 1]
            places = [*random.uniform(0, trajectory.last, 100), *knots]
            for index, parameter in enumerate(bundle.layout.parameters):
                theta = [step[index].numpy().astype(np.float64) for step in steps]
                u = reference_u(theta, knots)
                beta_error = max(beta_error, np.abs(trajectory.u[:, index] - u).max())
                for c in places:
                    got = bundle.layout.split(trajectory.at(c))[parameter.name].astype(np.float64)
                    want = reference_at(theta, u, knots, c)
                    error = np.linalg.norm(got - want) / max(np.linalg.norm(want), 1e-300)
                    weight_error = max(weight_error, error)
            for k in knots:
                flat = np.concatenate([tensor.numpy().ravel() for tensor in steps[k]])
                identical &= trajectory.at(k).tobytes() == flat.tobytes()
    print(
        f"{buffer.name}, knots {knots}: knots bit-identical {identical}, beta error {beta_error:.1e},"
        f" weights at real t, relative error {weight_error:.1e}"
    )


def round_trip(buffer: Path, folder: Path) -> None:
    original = torch.load(buffer)
    for codec in ("none", "zstd", "archive"):
        target = folder / f"{codec}-{buffer.stem}.mtt"
        convert(buffer, target, ConvertOptions(codec=codec))
        with trajfmt.open(target) as bundle:
            export(bundle, folder / f"{codec}-{buffer.stem}")
        again = torch.load(folder / f"{codec}-{buffer.stem}" / "replay_buffer_0.pt")
        same = all(
            a.numpy().tobytes() == b.numpy().tobytes()
            for x, y in zip(original, again, strict=True)
            for p, q in zip(x, y, strict=True)
            for a, b in zip(p, q, strict=True)
        )
        print(f"{buffer.name}, .mtt {codec} and back: bit-identical {same}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("buffer", type=Path, nargs="?")
    parser.add_argument("--knots", default="6,12")
    options = parser.parse_args()
    inserted = tuple(int(knot) for knot in options.knots.split(","))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        buffers = [options.buffer] if options.buffer else []
        if not buffers:
            for timesteps, title in ((51, "random.pt"), (2, "two.pt")):
                make_buffer(folder / title, timesteps)
                buffers.append(folder / title)
        for buffer in buffers:
            examine(buffer, (), folder)
            if len(torch.load(buffer)[0]) > max(inserted) + 1:
                examine(buffer, inserted, folder)
            round_trip(buffer, folder)


if __name__ == "__main__":
    main()
