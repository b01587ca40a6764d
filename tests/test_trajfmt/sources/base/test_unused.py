"""Files beside those that are used."""

from __future__ import annotations

from pathlib import Path

import pytest

import trajfmt

torch = pytest.importorskip("torch")
from tests.helpers.replay import expert, messages, run, save  # noqa: E402
from trajfmt.sources.base.unused import remarks  # noqa: E402


def test_checkpoint_beside_a_buffer_is_reported(tmp_path: Path) -> None:
    """EDF's checkpoint.pt may hold experts that are in no buffer; that is told."""
    save(tmp_path / "src", [expert(0)])
    (tmp_path / "src" / "checkpoint.pt").write_bytes(b"not looked at")
    _, events = run(tmp_path / "src")
    assert any("checkpoint.pt" in text for text in messages(events, "notice"))


def test_other_files_beside_a_buffer_are_left_alone(tmp_path: Path) -> None:
    """Backups, parts and towers of other tools are neither read nor touched."""
    save(tmp_path / "src", [expert(0)])
    for name in (
        "replay_buffer_0.pt.bak",
        "replay_buffer_.pt",
        "img_replay_buffer_0.pt",
        "replay_buffer_-1.pt",
    ):
        (tmp_path / "src" / name).write_bytes(b"junk")
    destination, _ = run(tmp_path / "src")
    assert len(trajfmt.open(destination)) == 1


def test_buffers_in_folders_below_are_named(tmp_path: Path) -> None:
    """They are not converted, and the folders that hold them are told; other folders are not."""
    save(tmp_path / "src", [expert(0)])
    for place in ("run2", "more/run3", "logs", ".hidden"):
        (tmp_path / "src" / place).mkdir(parents=True)
    for place, name in (
        ("run2", "replay_buffer_0.pt"),
        ("run2", "replay_buffer_1.pt"),
        ("more/run3", "img_replay_buffer_4.pt"),
        ("logs", "events.out"),
        (".hidden", "replay_buffer_0.pt"),
    ):
        (tmp_path / "src" / place / name).write_bytes(b"not looked at")
    destination, events = run(tmp_path / "src")
    assert len(trajfmt.open(destination)) == 1
    (told,) = (text for text in messages(events, "notice") if "buffers of their own" in text)
    assert told.startswith(
        "left out: more/run3/, run2/: folders with buffers of their own, such as img_replay"
    )


def test_remains_of_programs_beside_buffers_are_named(tmp_path: Path) -> None:
    """Copies and unfinished files are told by kind; folders of the system are passed over."""
    path = save(tmp_path / "CIFAR10/ConvNet", [expert(0)])
    names = ["replay_buffer_0 (1).pt", "Copy of replay_buffer_0.pt", "replay_buffer_0.pt.gstmp", ".DS_Store"]
    for name in (
        *names,
        "replay_buffer_0.pt.tmp.77",
        "__MACOSX/replay_buffer_1.pt",
        "lost+found/replay_buffer_1.pt",
    ):
        (path.parent / name).parent.mkdir(exist_ok=True)
        (path.parent / name).write_bytes(path.read_bytes())
    destination, events = run(tmp_path)
    assert len(trajfmt.open(destination)) == 1
    (told,) = (text for text in messages(events, "notice") if text.startswith("left out"))
    assert told == f"left out: {names[1]}, {names[0]}, {names[2]} and 1 more: unfinished, or a copy"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *((name, b"") for name in ("replay_buffer_1", "replay_buffer_2.zip", "replay_buffer_5.bin")),
        *((name, b"") for name in ("replay_buffer_7.pt_old", "replay_buffer_9,pt", "replay_buffer_10.pt ")),
        *((name, b"") for name in ("replay_buffer_17.npz", "replay_buffer_19.tar.gz", "buffer_11.torch")),
        *((name, b"") for name in ("step_buffer_2", "waypoint_buffer_ip3_1.zst", "img_replay_buffer_1,pt")),
        ("0", b"PK\3\4"),
        ("expert", b"\x80\2"),
        ("blob", b"?" * 2000),
    ],
)
def test_whatever_may_be_a_buffer_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    """The name, the first bytes or the size tell, whatever the ending; logs and pictures are passed over."""
    path = save(tmp_path / "src", [expert(0)])
    (path.parent / name).write_bytes(content)
    for other in ("train.log", "buffer_loss.png", "args.json", "notes"):
        (path.parent / other).write_bytes(b"text")
    assert remarks(path.parent, [path]) == [f"left out: {name}: not one of the numbered files"]


def test_buffers_below_are_named_whatever_their_ending(tmp_path: Path) -> None:
    """A folder with nothing but packed buffers, or buffers without an ending, is told."""
    path = save(tmp_path / "src", [expert(0)])
    for name in (
        "a/replay_buffer_1",
        "b/step_buffer_ip3_2.zip",
        "c/replay_buffer_3,pt",
        "d/replay_buffer_4.log",
    ):
        (path.parent / name).parent.mkdir()
        (path.parent / name).write_bytes(b"")
    (told,) = remarks(path.parent, [path])
    assert told.startswith("left out: a/, b/, c/: folders with buffers of their own")
