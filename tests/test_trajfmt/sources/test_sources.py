"""What does not fit, folders that are mixed, damaged or interrupted: one line for each file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt
from trajfmt.convert.events import Event
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.planning import plan
from trajfmt.convert.run import convert
from trajfmt.errors import CorruptError, SourceError

torch = pytest.importorskip("torch")

from tests.foreign import family, towers  # noqa: E402  # the generators need torch
from tests.foreign.checking import rows, run, same, told  # noqa: E402

IMAGES = torch.zeros(20, 3, 32, 32)


# --- file by file -------------------------------------------------------------------------------------------


def mixed(folder: Path) -> family.Written:
    """Return a folder of five numbered files, two of them damaged, among other people's files."""
    written = family.run(folder, 10, 2)
    data = (folder / "replay_buffer_1.pt").read_bytes()
    (folder / "replay_buffer_1.pt").write_bytes(data[: len(data) // 2])
    torch.save(IMAGES, folder / "replay_buffer_3.pt")
    for name in (
        "waypoint_buffer_0.pt",
        "step_buffer_0.pt",
        "replay_buffer_5.pt.tmp",
        "images_best.pt",
        "checkpoint_12.pt",
        "notes.txt",
    ):
        (folder / name).write_bytes(b"junk")
    return written


def test_what_is_sound_converts_and_the_rest_is_told_file_by_file(tmp_path: Path) -> None:
    """keep_going: three files of five, a line for each other one; sources are the three."""
    written = mixed(tmp_path / "src")
    events = run(written.folder, tmp_path / "out.mtt", keep_going=True)
    same(tmp_path / "out.mtt", [written.experts[n] for n in (0, 1, 4, 5, 8, 9)])
    damaged = told(events, "skipped")
    assert [("replay_buffer_1.pt" in text, "replay_buffer_3.pt" in text) for text in damaged] == [
        (True, False),
        (False, True),
    ]
    beside = [text for text in told(events, "notice") if text.startswith("left out")]
    assert "checkpoint_12.pt: not one of the numbered files" in beside[0]
    assert any("step_buffer_0.pt, waypoint_buffer_0.pt: MCT's" in text for text in beside)
    assert any("replay_buffer_5.pt.tmp: unfinished" in text for text in beside)
    assert any("images_best.pt: a distilled set" in text for text in beside)
    assert not any("notes.txt" in text for text in beside)
    with trajfmt.open(tmp_path / "out.mtt") as bundle:
        assert [s.name for s in bundle.manifest.provenance.sources] == [
            f"replay_buffer_{n}.pt" for n in (0, 2, 4)
        ]
        origins = [(entry.origin.file, entry.origin.trajectory) for entry in bundle.manifest.trajectories]
    assert origins == [(file, index) for file in (0, 1, 2) for index in (0, 1)]


def test_without_keep_going_the_first_bad_file_stops(tmp_path: Path) -> None:
    """Nothing is at the destination, and the message names the file."""
    written = mixed(tmp_path / "src")
    with pytest.raises(CorruptError, match=r"replay_buffer_1\.pt"):
        convert(written.folder, tmp_path / "out.mtt")
    assert not (tmp_path / "out.mtt").exists()


def test_plan_reports_the_same_files(tmp_path: Path) -> None:
    """A look without reading weights names the files that give trajectories, and those that are left out."""
    written = mixed(tmp_path / "src")
    found = plan(written.folder, None, ConvertOptions(keep_going=True))
    assert found.files == tuple((f"replay_buffer_{n}.pt", 2, ()) for n in (0, 2, 4))
    assert len(found.skipped) == 2
    assert found.recognised.startswith("MTT buffer: there are replay_buffer_<n>.pt")
    with pytest.raises(CorruptError):
        plan(written.folder, None, ConvertOptions())


def test_nothing_but_damage_is_the_first_files_error(tmp_path: Path) -> None:
    """keep_going with no file that opens: the reason of the first, not an empty bundle."""
    folder = tmp_path / "src"
    folder.mkdir()
    for n in range(2):
        (folder / f"replay_buffer_{n}.pt").write_bytes(b"")
    with pytest.raises(CorruptError, match="the file is empty"):
        convert(folder, tmp_path / "out.mct", ConvertOptions(keep_going=True))


def test_two_files_of_one_number_use_the_plain_name(tmp_path: Path) -> None:
    """replay_buffer_00.pt beside replay_buffer_0.pt is told, not silently dropped."""
    written = family.mtt(tmp_path)
    torch.save([family.expert(50)], written.folder / "replay_buffer_00.pt")
    events = run(written.folder, tmp_path / "out.mtt")
    same(tmp_path / "out.mtt", written.experts)
    assert any("replay_buffer_00.pt: a second file" in text for text in told(events, "notice"))


# --- interrupted --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [towers.vl, family.edf, family.tesla], ids=["pairs", "edf", "tesla"])
@pytest.mark.parametrize("after", [1, 2])
def test_an_interrupted_conversion_continues_to_the_same_bundle(
    tmp_path: Path, write: Callable[[Path], Any], after: int
) -> None:
    """Stopped between trajectories, the same call gives the manifest that an undisturbed one gives."""
    folder = write(tmp_path / "there").folder
    run(folder, tmp_path / "whole.mct")
    seen = 0

    def stop(event: Event) -> None:
        nonlocal seen
        seen += event.kind == "trajectory"
        if seen > after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(folder, tmp_path / "out.mct", on_event=stop)
    assert not (tmp_path / "out.mct").exists()
    events = run(folder, tmp_path / "out.mct")
    assert told(events, "resumed")
    whole, again = (trajfmt.open(tmp_path / name).manifest for name in ("whole.mct", "out.mct"))
    assert again == whole


def test_keep_going_continues_what_a_damaged_file_has_stopped(tmp_path: Path) -> None:
    """Stopped at file 1, the rerun with keep_going takes over file 0; the bundle is that of one run."""
    written = mixed(tmp_path / "src")
    with pytest.raises(CorruptError):
        convert(written.folder, tmp_path / "out.mct")
    events = run(written.folder, tmp_path / "out.mct", keep_going=True)
    assert told(events, "resumed") == ["continuing from 2 finished trajectories of an interrupted run"]
    run(written.folder, tmp_path / "whole.mct", keep_going=True)
    again, whole = (trajfmt.open(tmp_path / name).manifest for name in ("out.mct", "whole.mct"))
    assert again == whole


def test_a_file_repaired_meanwhile_is_not_taken_for_another(tmp_path: Path) -> None:
    """A damaged file that opens on the rerun, its time kept: every trajectory is where it belongs."""
    written = family.run(tmp_path / "src", 8, 2)
    path = written.folder / "replay_buffer_0.pt"
    sound, status = path.read_bytes(), path.stat()
    path.write_bytes(b"\0" * len(sound))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    seen = 0

    def stop(event: Event) -> None:
        nonlocal seen
        seen += event.kind == "trajectory"
        if seen > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(written.folder, tmp_path / "out.mtt", ConvertOptions(keep_going=True), on_event=stop)
    path.write_bytes(sound)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    run(written.folder, tmp_path / "out.mtt", keep_going=True)
    with trajfmt.open(tmp_path / "out.mtt") as bundle:
        names = [source.name for source in bundle.manifest.provenance.sources]
        entries = bundle.manifest.trajectories
        found = {(names[e.origin.file], e.origin.trajectory): t for e, t in zip(entries, bundle, strict=True)}
        assert len(found) == 8
        for number, expert in enumerate(written.experts):
            trajectory = found[f"replay_buffer_{number // 2}.pt", number % 2]
            assert np.array_equal(trajectory.at(2), rows(expert)[2])


# --- hostile ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["img_replay_buffer_1.pt", "txt_replay_buffer_1.pt"])
def test_a_damaged_half_is_one_line_wherever_it_is_cut(tmp_path: Path, name: str) -> None:
    """A half that ends early at any of some places: its own error, and the other pairs with keep_going."""
    written = towers.vl(tmp_path / "there")
    path = written.folder / name
    data = path.read_bytes()
    for cut in (0, 3, 30, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:cut])
        with pytest.raises(CorruptError, match=name):
            plan(written.folder)
        found = plan(written.folder, None, ConvertOptions(keep_going=True))
        assert found.trajectories == 2
        assert [name in text for text in found.skipped] == [True]


def test_a_damaged_checkpoint_costs_no_buffer(tmp_path: Path) -> None:
    """EDF killed while it wrote checkpoint.pt: the buffers convert, and why the rest does not is told."""
    written = family.edf(tmp_path / "there")
    path = written.folder / "checkpoint.pt"
    data = path.read_bytes()
    for cut in (1, 4, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:cut])
        found = plan(written.folder)
        assert found.files == (("replay_buffer_0.pt", 2, ()),)
        assert [text for text in found.notices if "checkpoint.pt" in text]
        with pytest.raises(CorruptError, match=r"checkpoint\.pt"):
            plan(written.folder, None, ConvertOptions(layout="edf"))


@pytest.mark.parametrize("name", ["train.log", "checkpoint.pt", "replay_buffer_7.pt", "ckpt", "manifest.txt"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "dangling link", "link to itself"])
def test_odd_entries_beside_the_files_hang_nothing(tmp_path: Path, name: str, kind: str) -> None:
    """Pipes, folders and broken links under the names that are looked for are passed over."""
    written = family.run(tmp_path / "logs" / "Buffer" / "flickr-lam-0.8", 4, 2)
    entry = written.folder / name
    if kind == "pipe":
        os.mkfifo(entry)
    elif kind == "folder":
        entry.mkdir()
    else:
        entry.symlink_to(tmp_path / "nowhere" if kind == "dangling link" else entry)
    for layout in (None, "mtt", "edf", "sfgc", "ltdd"):
        assert plan(written.folder, None, ConvertOptions(layout=layout)).trajectories == 4


@pytest.mark.parametrize("tower", ["", "img_"])
def test_a_broken_link_among_the_files_is_told(tmp_path: Path, tower: str) -> None:
    """The last file of a source may have gone with its disk: the numbering has no gap that would say so."""
    folder = (towers.vl(tmp_path) if tower else family.mtt(tmp_path)).folder
    (folder / f"{tower}replay_buffer_9.pt").symlink_to(tmp_path / "nowhere")
    (folder / f"{tower}replay_buffer_8.pt").mkdir()
    told = [text for text in plan(folder).notices if text.startswith("left out")]
    assert told == [
        f"left out: {tower}replay_buffer_8.pt: no regular file",
        f"left out: {tower}replay_buffer_9.pt: a broken link",
    ]


def test_a_folder_of_broken_links_says_so(tmp_path: Path) -> None:
    """Nothing is recognised, and the reason is in the line."""
    (tmp_path / "replay_buffer_0.pt").symlink_to(tmp_path / "nowhere")
    with pytest.raises(SourceError, match=r"left out: replay_buffer_0\.pt: a broken link"):
        plan(tmp_path)


def test_names_that_are_no_text_are_shown_as_they_can_be(tmp_path: Path) -> None:
    """Control characters and other encodings in the names of neighbours stay on one line."""
    written = family.mtt(tmp_path)
    for name in (b"a\x1b[31m\n.pt", b"\xff\xfe.pt"):
        Path(os.fsdecode(os.fsencode(written.folder) + b"/" + name)).write_bytes(b"junk")
    (line,) = plan(written.folder).notices[:1]
    assert line.isprintable()
    assert "\\x1b" in line
