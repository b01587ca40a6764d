"""The command `traj` as a process and in this process, and small buffers for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SCRIPT = (
    "import sys; from importlib.metadata import entry_points; sys.argv[0] = 'traj';"
    "(script,) = entry_points(group='console_scripts', name='traj'); sys.exit(script.load()())"
)


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """Return the only error line; no traceback, no escape codes beside it."""
        assert "Traceback" not in self.err, self.err
        assert "\x1b" not in self.out + self.err
        lines = [line for line in self.err.splitlines() if not line.startswith("note: ")]
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: ")
        return lines[0]


Traj = Callable[..., Outcome]


@pytest.fixture
def traj(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Traj:
    """Return a function that runs the installed command in this process."""
    (script,) = entry_points(group="console_scripts", name="traj")
    main = script.load()

    def call(*arguments: object) -> Outcome:
        capfdbinary.readouterr()
        with pytest.raises(SystemExit) as caught:
            main.main([str(argument) for argument in arguments], prog_name="traj")
        sys.stdout.flush()
        sys.stderr.flush()
        out, err = capfdbinary.readouterr()
        code = caught.value.code
        return Outcome(code if isinstance(code, int) else int(code is not None), out.decode(), err.decode())

    monkeypatch.delenv("FORCE_COLOR", raising=False)
    return call


@pytest.fixture
def process() -> Callable[..., subprocess.Popen[bytes]]:
    """Return a function that starts the installed command as a process of its own."""

    def start(*arguments: object, **options: Any) -> subprocess.Popen[bytes]:
        environment = {k: v for k, v in os.environ.items() if k != "FORCE_COLOR"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment}
        return subprocess.Popen([sys.executable, "-c", SCRIPT, *map(str, arguments)], **{**pipes, **options})

    return start


@pytest.fixture
def weights() -> Callable[..., list[list[list[np.ndarray]]]]:
    """Return a function that makes random trajectories of a small ConvNet."""

    def make(count: int = 2, timesteps: int = 6, seed: int = 0) -> list[list[list[np.ndarray]]]:
        generator = np.random.default_rng(seed)
        shapes = ((4, 3, 3, 3), (4,), (4,), (4,), (10, 1024), (10,))
        return [
            [[generator.standard_normal(s).astype(np.float32) for s in shapes] for _ in range(timesteps)]
            for _ in range(count)
        ]

    return make


@pytest.fixture
def bundle(tmp_path: Path, weights: Any) -> Callable[..., Path]:
    """Return a function that writes a bundle of random trajectories, without torch."""
    import trajfmt

    def make(name: str = "out.mct", dataset: str = "CIFAR10", parameter: str = "w", **options: Any) -> Path:
        path = tmp_path / name
        content = weights()
        names = [f"features.0.{parameter}", *(f"features.{n}.bias" for n in range(1, 6))]
        layout = trajfmt.ParamLayout.of(
            [(name, x.shape) for name, x in zip(names, content[0][0], strict=True)], layers="tensor"
        )
        encoding: Any = "full" if path.suffix == ".mtt" else "convex"
        with trajfmt.create(
            path, layout, encoding=encoding, provenance=trajfmt.Provenance(dataset=dataset), **options
        ) as writer:
            for steps in content:
                theta = np.stack([np.concatenate([x.reshape(-1) for x in step]) for step in steps])
                writer.add(trajfmt.ArrayTrajectory(theta, layout))
        return path

    return make


@pytest.fixture
def buffer(tmp_path: Path, weights: Any) -> Callable[..., Path]:
    """Return a function that saves an MTT buffer in a folder that tells its facts."""
    torch = pytest.importorskip("torch")

    def make(folder: str = "CIFAR10/ConvNet", number: int = 0, content: Any = None, **options: Any) -> Path:
        path = tmp_path / folder
        path.mkdir(parents=True, exist_ok=True)
        if content is None:
            content = [
                [[torch.from_numpy(x) for x in step] for step in steps] for steps in weights(**options)
            ]
        torch.save(content, path / f"replay_buffer_{number}.pt")
        return path

    return make
