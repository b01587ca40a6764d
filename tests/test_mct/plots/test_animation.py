"""The images of a run over its outer steps, as an animation."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image")
from mct.errors import ConfigError, CorruptError  # noqa: E402
from mct.plots.animation import animation  # noqa: E402
from mct.results import snapshots  # noqa: E402


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a folder with snapshots of images that become lighter."""
    for number, step in enumerate((0, 50, 100)):
        pixels = torch.full((2, 3, 8, 8), 0.25 * (number + 1))
        snapshots.write(tmp_path, step, pixels, torch.arange(2))
    return tmp_path


@pytest.mark.parametrize("kind", ["gif", "png"])
def test_frames_are_the_snapshots_in_the_order_of_steps(run: Path, tmp_path: Path, kind) -> None:
    """With their number above, in time, without end, and the same bytes each time."""
    data = animation(run, kind, seconds=0.1)
    assert data == animation(run, kind, seconds=0.1)
    (tmp_path / "file").write_bytes(data)
    with Image.open(tmp_path / "file") as found:
        assert (found.n_frames, found.info["loop"]) == (3, 0)
        levels, times, tops = [], [], set()
        for number in range(3):
            found.seek(number)
            frame = found.convert("RGB")
            levels.append(frame.getpixel((30, 60))[0])
            times.append(found.info["duration"])
            tops.add(frame.crop((0, 0, frame.width, 24)).tobytes())
    assert levels == pytest.approx([64, 128, 191], abs=4)
    assert times == [100, 100, 300]
    assert len(tops) == 3


def test_what_is_no_animation_is_refused(run: Path) -> None:
    """Times without sense, a damaged picture, and pictures of two runs; nothing is guessed."""
    with pytest.raises(ConfigError, match="`seconds` must lie between"):
        animation(run, "gif", seconds=0)
    snapshots.write(run, 150, torch.zeros(40, 3, 8, 8), torch.arange(40))
    with pytest.raises(CorruptError, match="holds pictures of several runs"):
        animation(run, "gif")
    snapshots.path_of(run, 150).write_bytes(b"no picture")
    with pytest.raises(CorruptError, match=r"step-00000150\.png: cannot be read as a picture"):
        animation(run, "png")
