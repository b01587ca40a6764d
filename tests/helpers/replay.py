"""Small replay buffers, converting them, and what is refused."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trajfmt.bundle.validation import validate
from trajfmt.convert.events import Event
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.planning import plan
from trajfmt.convert.run import convert
from trajfmt.errors import FormatError, SourceError, TrajfmtError

SHAPES = ((4, 3), (4,), (2, 2))


def expert(seed: int, timesteps: int = 5, shapes: Any = SHAPES, dtype: Any = None) -> list[list[Any]]:
    """Return one trajectory of random weights."""
    generator = torch.Generator().manual_seed(seed)
    return [
        [torch.randn(shape, generator=generator).to(dtype or torch.float32) for shape in shapes]
        for _ in range(timesteps)
    ]


def save(folder: Path, content: Any, number: int | str = 0, **options: Any) -> Path:
    """Save one file of a buffer."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"replay_buffer_{number}.pt"
    torch.save(content, path, **options)
    return path


def stack(trajectory: Any) -> np.ndarray:
    """Return the weights `(T+1, P)` of a nested list."""
    return np.stack([np.concatenate([x.detach().numpy().reshape(-1) for x in step]) for step in trajectory])


def run(source: Path, suffix: str = ".mct", **options: Any) -> tuple[Path, list[Event]]:
    """Convert beside the source, and return the destination and the events."""
    events: list[Event] = []
    destination = source.with_name(f"out{suffix}")
    convert(source, destination, ConvertOptions(**options), on_event=events.append)
    assert validate(destination) == []
    return destination, events


def refused(source: Path, reason: str, suffix: str = ".mct", **options: Any) -> TrajfmtError:
    """Require that a conversion is refused for a reason and leaves nothing at the destination."""
    destination = source.with_name(f"out{suffix}")
    with pytest.raises((SourceError, FormatError)) as caught:
        convert(source, destination, ConvertOptions(**options))
    assert caught.value.reason == reason, str(caught.value)
    assert not os.path.lexists(destination)
    assert "\n" not in str(caught.value)
    return caught.value


def messages(events: list[Event], kind: str) -> list[str]:
    """Return what was told under one kind."""
    return [event.message for event in events if event.kind == kind]


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def packed(zipped: bool) -> bytes:
    """Return the bytes of a small buffer."""
    buffer = io.BytesIO()
    torch.save([expert(0, 3)], buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def outcome(path: Path, data: bytes) -> str:
    """Read a file through the source; return the reason, or `fine`."""
    path.write_bytes(data)
    try:
        plan(path, path.with_name("out.mct"))
    except TrajfmtError as exc:
        return str(getattr(exc, "reason", type(exc).__name__))
    return "fine"
