"""Files of a source are hashed, and must not change meanwhile."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

import trajfmt
from trajfmt.convert.events import Event
from trajfmt.convert.run import convert
from trajfmt.errors import SourceError

torch = pytest.importorskip("torch")
from tests.helpers.conversion import run, save, theta  # noqa: E402


def test_source_that_changes_meanwhile_is_refused(tmp_path: Path) -> None:
    """A file that is written to while it is read gives no bundle."""
    source = save(tmp_path / "src", [theta(0), theta(1)])
    path = source / "replay_buffer_0.pt"

    def touch(event: Event) -> None:
        if event.kind == "trajectory":
            os.utime(path, ns=(1, 1))

    with pytest.raises(SourceError) as caught:
        convert(source, tmp_path / "out.mct", on_event=touch)
    assert caught.value.reason == "source_changed"
    assert not (tmp_path / "out.mct").exists()


def test_sources_are_recorded_with_their_hashes(tmp_path: Path) -> None:
    """Provenance lists every file with size and sha256, and each trajectory's place in them."""
    source = save(tmp_path / "src", [theta(0), theta(1)], 0)
    save(source, [theta(2)], 1)
    run(source, tmp_path / "out.mct")
    manifest = trajfmt.open(tmp_path / "out.mct").manifest
    for entry, path in zip(manifest.provenance.sources, sorted(source.iterdir()), strict=True):
        data = path.read_bytes()
        assert (entry.name, entry.bytes) == (path.name, len(data))
        assert entry.sha256 == hashlib.sha256(data).hexdigest()
    assert [(e.origin.file, e.origin.trajectory) for e in manifest.trajectories] == [(0, 0), (0, 1), (1, 0)]


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    """A bundle cannot record it; nothing is written."""
    folder = tmp_path / "run"
    folder.mkdir()
    for step in range(2):
        name = os.fsdecode(b"mod\xe8le_step_%d.pt" % step)
        torch.save({"w": torch.full((3,), float(step))}, folder / name)
    with pytest.raises(SourceError, match=r"mod\\udce8le_step_0.pt is not valid UTF-8"):
        convert(folder, tmp_path / "a.mct")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
