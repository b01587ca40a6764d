"""Interruption: killed, stopped, crowded out or out of space, a conversion leaves nothing or all of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import trajfmt
from trajfmt.bundle.validation import validate
from trajfmt.convert.events import Event
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert
from trajfmt.errors import CorruptError, ExistsError, SourceError, UsageError, WriteError
from trajfmt.sources.mtt_family.replay import ReplayPart
from trajfmt.sources.torchfile.zipped import ZippedTrajectory

torch = pytest.importorskip("torch")

SHAPES = ((40, 30), (40,), (30, 40), (30,))


def save(folder: Path, number: int, count: int, timesteps: int = 4, shapes: Any = SHAPES) -> Path:
    """Save a file of random trajectories."""
    folder.mkdir(exist_ok=True)
    generator = torch.Generator().manual_seed(number)
    content = [
        [[torch.randn(s, generator=generator) for s in shapes] for _ in range(timesteps)]
        for _ in range(count)
    ]
    torch.save(content, folder / f"replay_buffer_{number}.pt")
    return folder


def files(bundle: Path) -> dict[str, bytes]:
    """Return every file of a bundle by its path."""
    return {p.relative_to(bundle).as_posix(): p.read_bytes() for p in bundle.rglob("*") if p.is_file()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a buffer of three files with two trajectories each."""
    for number in range(3):
        save(tmp_path / "src", number, 2)
    return tmp_path / "src"


class Interrupt:
    """Raises KeyboardInterrupt after some trajectories, as Ctrl-C does."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self, event: Event) -> None:
        if event.kind == "trajectory":
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt


DRIVER = """
import json, os, random, resource, shutil, signal, sys, time
from pathlib import Path
import torch
from trajfmt.convert.options import ConvertOptions; from trajfmt.convert.run import convert
from trajfmt.errors import TrajfmtError
from trajfmt.bundle.validation import validate
import trajfmt.sources.mtt_family.mtt

torch.set_num_threads(1)
mode, folder = sys.argv[1], Path(sys.argv[2])

def files(bundle):
    return {p.relative_to(bundle).as_posix(): p.read_bytes() for p in bundle.rglob("*") if p.is_file()}

def forked(source, target, before=lambda: None, wait=None, **options):
    "Convert in a child; kill it after `wait` seconds. Return its status, the resumed messages, its error."
    notes = folder / "notes"
    notes.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        code = 99
        try:
            told = []
            before()
            try:
                convert(source, target, ConvertOptions(**options), on_event=told.append)
                code = 0
            except TrajfmtError as exc:
                told.append(exc)
                code = 7
            resumed = [e.message for e in told if getattr(e, "kind", None) == "resumed"]
            notes.write_text(json.dumps([resumed, str(told[-1]) if code else ""]))
        finally:
            os._exit(code)
    if wait is not None:
        time.sleep(wait)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    resumed, error = json.loads(notes.read_text()) if notes.exists() else ([], "")
    return os.waitstatus_to_exitcode(status), resumed, error

def remove(path):
    shutil.rmtree(path, ignore_errors=True)

COUNTED = ("replace", "rename", "fsync", "unlink", "rmdir", "mkdir", "ftruncate")

def dying(limit, counter):
    "Kill this process just before the call number `limit` that changes the file system."
    def patch():
        for name in COUNTED:
            original = getattr(os, name)
            def call(*args, original=original, **kwargs):
                counter[0] += 1
                if counter[0] == limit:
                    os.kill(os.getpid(), signal.SIGKILL)
                return original(*args, **kwargs)
            setattr(os, name, call)
    return patch

def calls(source, target, **options):
    "Return how many such calls a whole conversion makes."
    reader, writer = os.pipe()
    counter = [0]
    child = os.fork()
    if child == 0:
        try:
            dying(-1, counter)()
            convert(source, target, ConvertOptions(**options))
            os.write(writer, str(counter[0]).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    return int(os.read(reader, 20))

for name, codec in (("imports.mct", None), ("imports.mtt", "zstd")):  # here, not once more in every child
    convert(folder / "src", folder / name, ConvertOptions(codec=codec))
    remove(folder / name)

if mode == "random":
    rng = random.Random(int(sys.argv[3]))
    report = {"killed": 0, "resumed": 0, "published": 0, "problems": []}
    for suffix in (".mct", ".mtt"):
        options = {"codec": "zstd"} if suffix == ".mtt" else {}
        whole, spent = folder / f"whole{suffix}", []
        for _ in range(2):
            remove(whole)
            start = time.monotonic()
            assert forked(folder / "src", whole, **options)[0] == 0
            spent.append(time.monotonic() - start)
        expected = files(whole)
        target = folder / f"out{suffix}"
        for turn in range(8):
            delay = rng.uniform(0, min(spent))
            code, _, _ = forked(folder / "src", target, wait=delay, **options)
            report["killed"] += code == -signal.SIGKILL
            if os.path.lexists(target):
                report["published"] += 1
                if found := validate(target):
                    report["problems"].append([suffix, turn, delay, "left at DEST: " + str(found[0])])
                remove(target)
            code, resumed, error = forked(folder / "src", target, **options)
            report["resumed"] += bool(resumed)
            if code or files(target) != expected:
                report["problems"].append([suffix, turn, delay, f"rerun gives {code} {error}"])
            remove(target)
            left = [p.name for p in folder.iterdir() if p.name.endswith(".partial")]
            if left:
                report["problems"].append([suffix, turn, delay, f"left: {left}"])
            remove(folder / f".out{suffix}.partial")
    print(json.dumps(report))

if mode in ("create", "removed", "append"):
    suffix = sys.argv[3]
    target, partial = folder / f"out{suffix}", folder / f".out{suffix}.partial"
    base, options = folder / f"base{suffix}", {}
    if mode == "append":
        convert(folder / "first", base)
        options = {"append": True}
    def prepare():
        remove(target); remove(partial)
        if mode == "append":
            shutil.copytree(base, target)
    prepare()
    total = calls(folder / "src", target, **options)
    expected, bare = files(target), files(base) if mode == "append" else None
    report = {"total": total, "killed": 0, "resumed": 0, "problems": []}
    for limit in range(max(1, total - int(sys.argv[4])), total + 1):
        prepare()
        code, _, _ = forked(folder / "src", target, dying(limit, [0]), **options)
        if code != -signal.SIGKILL:
            continue
        report["killed"] += 1
        manifest = (target / "manifest.json").read_bytes() if target.exists() else None
        done = manifest == expected["manifest.json"]
        if manifest is not None and validate(target):
            report["problems"].append([limit, "unsound at DEST: " + str(validate(target)[0])])
        if not done and manifest != (bare or {}).get("manifest.json"):
            report["problems"].append([limit, "half of it at DEST"])
        if mode == "removed" and done:
            remove(target)  # as a user does who does not trust what a killed process left
            done = False
        code, resumed, error = forked(folder / "src", target, **options)
        report["resumed"] += bool(resumed)
        if done:
            told = "duplicate" if mode == "append" else "exists"
            recognised = mode == "append" and code == 0  # before the hidden folder was removed
            if not (recognised or told in error) or files(target) != expected:
                report["problems"].append([limit, f"complete already, the rerun gives {code} {error}"])
            report["recognised"] = report.get("recognised", 0) + recognised
            if partial.exists():
                report["problems"].append([limit, "the rerun leaves the hidden folder"])
        elif code or files(target) != expected:
            report["problems"].append([limit, f"rerun gives {code} {error} and {len(files(target))} files"
                f" instead of {len(expected)}"])
        elif found := validate(target):
            report["problems"].append([limit, "unsound after the rerun: " + str(found[0])])
    print(json.dumps(report))
"""


def drive(*arguments: str) -> Any:
    """Run the driver, which pays for its imports once and forks a child per conversion."""
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, *arguments], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_kill_at_sixteen_random_moments(tmp_path: Path) -> None:
    """After kill -9 there is nothing or a sound bundle, and the rerun equals an uninterrupted conversion.

    benchmarks/trust/kills.py makes as many kills as one likes.
    """
    for number in range(4):
        save(tmp_path / "src", number, 4, 12, ((200, 100), (200,), (50, 200)))
    report = drive("random", str(tmp_path), "1")
    assert report["problems"] == []
    assert report["killed"] >= 4
    assert report["resumed"] >= 1


def small(folder: Path, suffix: str, mode: str, last: int) -> Any:
    """Kill tiny conversions before each of the last calls that change the file system."""
    save(folder / "first", 7, 1, 3, ((3,), (2,)))
    for number in range(2):
        save(folder / "src", number, 1, 3, ((3,), (2,)))
    report = drive(mode, str(folder), suffix, str(last))
    assert report["total"] > 20
    assert report["killed"] == min(report["total"], last + 1)
    return report


@pytest.mark.parametrize("suffix", [".mct", ".mtt"])
def test_kill_before_every_change_of_the_file_system(tmp_path: Path, suffix: str) -> None:
    """Killed before each rename, fsync, removal and so on, a new bundle is whole after one rerun."""
    report = small(tmp_path, suffix, "create", 1000)
    assert report["resumed"] > 5
    assert report["problems"] == []


def test_kill_after_publishing_and_removal_of_the_bundle(tmp_path: Path) -> None:
    """Killed after the rename, the bundle removed, the rerun makes all of it again."""
    assert small(tmp_path, ".mct", "removed", 16)["problems"] == []


@pytest.mark.parametrize("suffix", [".mct", ".mtt"])
def test_kill_while_an_append_is_published(tmp_path: Path, suffix: str) -> None:
    """Killed while it publishes, an append leaves the old bundle or the new, and the rerun completes it."""
    report = small(tmp_path, suffix, "append", 24)
    assert report["problems"] == []
    assert report["recognised"] >= 1


# --- continuing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".mct", ".mtt"])
@pytest.mark.parametrize("after", [1, 2, 3])
def test_rerun_continues_from_the_finished_trajectories(
    source: Path, tmp_path: Path, suffix: str, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was finished is not read again, the event says how much, and the bytes are the same."""
    convert(source, tmp_path / f"whole{suffix}")
    target = tmp_path / f"out{suffix}"
    with pytest.raises(KeyboardInterrupt):
        convert(source, target, on_event=Interrupt(after))
    assert not os.path.lexists(target)
    journal = tmp_path / f".out{suffix}.partial" / "journal"
    finished = len(list(journal.glob("[0-9]*.json")))
    assert finished >= 1

    opened: list[Any] = []
    read: set[int] = set()
    open_part, read_one = ReplayPart.open, ZippedTrajectory.read

    def noted(self: ReplayPart, scratch: Path) -> Any:
        found = open_part(self, scratch)
        opened.extend(found)
        return found

    def counted(self: ZippedTrajectory, t: int, parameter: int) -> Any:
        read.add(next(number for number, item in enumerate(opened) if item is self))
        return read_one(self, t, parameter)

    monkeypatch.setattr(ReplayPart, "open", noted)
    monkeypatch.setattr(ZippedTrajectory, "read", counted)
    events: list[Event] = []
    assert convert(source, target, on_event=events.append) == 6
    resumed = [event.message for event in events if event.kind == "resumed"]
    assert len(resumed) == 1
    assert resumed[0].startswith(f"continuing from {finished} finished")
    assert read == set(range(finished, 6))
    assert files(target) == files(tmp_path / f"whole{suffix}")
    assert not journal.parent.exists()


@pytest.mark.parametrize("change", ["options", "source", "moved", "version", "format"])
def test_another_conversion_refuses_and_loses_nothing(
    source: Path, tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what is unfinished and where; that conversion can still be continued, or given up by hand."""
    target, hidden, options = tmp_path / "out.mct", tmp_path / ".out.mct.partial", ConvertOptions()
    convert(source, tmp_path / "whole.mct")
    with pytest.raises(KeyboardInterrupt):
        convert(source, target, on_event=Interrupt(3))
    job = (hidden / "job").read_bytes()
    if change == "options":
        options = ConvertOptions(knots=(2,))
    elif change == "source":
        save(source, 7, 1)
    elif change == "moved":
        shutil.move(source, tmp_path / "moved")
    elif change == "version":
        monkeypatch.setattr("trajfmt.convert.hashing.__version__", "0.0.7")
    else:
        (hidden / "job").write_bytes(b"0" * 64)  # as earlier versions wrote it
    before = files(hidden)
    with pytest.raises(ExistsError, match="has finished trajectories for this bundle") as told:
        convert(tmp_path / "moved" if change == "moved" else source, target, options)
    assert str(hidden) in str(told.value)
    assert (str(source) in str(told.value)) == (change != "format")
    assert files(hidden) == before
    monkeypatch.undo()
    (hidden / "job").write_bytes(job)
    (source / "replay_buffer_7.pt").unlink(missing_ok=True)
    if change == "moved":
        shutil.move(tmp_path / "moved", source)
    events: list[Event] = []
    convert(source, target, on_event=events.append)
    assert [event.kind for event in events if event.kind == "resumed"] == ["resumed"]
    assert files(target) == files(tmp_path / "whole.mct")


@pytest.mark.parametrize("append", [False, True])
def test_changed_source_is_converted_again_and_says_so(source: Path, tmp_path: Path, append: bool) -> None:
    """The work of an interrupted run with a file that was written anew is of no use to any command."""
    for name in ("out.mct", "fresh.mct") if append else ():
        convert(save(tmp_path / "first", 9, 1), tmp_path / name)
    options = ConvertOptions(append=append)
    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / "out.mct", options, on_event=Interrupt(3))
    save(source, 5, 2)
    os.replace(source / "replay_buffer_5.pt", source / "replay_buffer_0.pt")
    events: list[Event] = []
    convert(source, tmp_path / "out.mct", options, on_event=events.append)
    assert any("changed since an interrupted run" in event.message for event in events)
    convert(source, tmp_path / "fresh.mct", options)
    assert files(tmp_path / "out.mct") == files(tmp_path / "fresh.mct")


def test_a_source_that_was_overwritten_in_place_is_converted_again(source: Path, tmp_path: Path) -> None:
    """Same path, size, inode and modification time, other weights: its trajectory is not the finished one."""
    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / "out.mct", on_event=Interrupt(3))
    path = source / "replay_buffer_0.pt"
    before = path.stat()
    with path.open("r+b") as file:
        file.write((save(tmp_path / "other", 9, 2) / "replay_buffer_9.pt").read_bytes())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_ino, after.st_mtime_ns) == (
        before.st_size,
        before.st_ino,
        before.st_mtime_ns,
    )
    convert(source, tmp_path / "out.mct")
    convert(source, tmp_path / "fresh.mct")
    assert files(tmp_path / "out.mct") == files(tmp_path / "fresh.mct")


def test_keep_going_after_a_damaged_checkpoint_ends(tmp_path: Path) -> None:
    """Without the checkpoint the source is another one: it is converted again, and with a note."""
    for run in range(4):
        (tmp_path / f"src/r{run}").mkdir(parents=True)
        for step in (1, 2, 3):
            rng = torch.Generator().manual_seed(10 * run + step)
            torch.save({"w": torch.randn(300, generator=rng)}, tmp_path / f"src/r{run}/epoch_{step}.pt")
    damaged = tmp_path / "src/r2/epoch_2.pt"
    damaged.write_bytes(damaged.read_bytes()[:-200])
    with pytest.raises(CorruptError):
        convert(tmp_path / "src", tmp_path / "out.mct")
    assert list((tmp_path / ".out.mct.partial/journal").glob("0*.json"))
    events: list[Event] = []
    options = ConvertOptions(keep_going=True)
    assert convert(tmp_path / "src", tmp_path / "out.mct", options, on_event=events.append) == 4
    assert any("changed since an interrupted run" in event.message for event in events)
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        assert [each.numbers for each in bundle][2] == (1, 3)
    convert(tmp_path / "src", tmp_path / "fresh.mct", options)
    assert files(tmp_path / "out.mct") == files(tmp_path / "fresh.mct")


@pytest.mark.parametrize("damage", ["record", "table", "part", "gone", "unreadable", "flipped"])
def test_damaged_journal_costs_time_only(source: Path, tmp_path: Path, damage: str) -> None:
    """What cannot be read is converted again, and the bytes are those of an undisturbed run."""
    convert(source, tmp_path / "whole.mct")
    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / "out.mct", on_event=Interrupt(2))
    journal = tmp_path / ".out.mct.partial" / "journal"
    record, table = journal / "00001.json", journal / "00001.safetensors"
    if damage == "record":
        record.write_bytes(record.read_bytes()[:20])
    elif damage == "table":
        table.write_bytes(table.read_bytes()[:20])
    elif damage == "part":
        (journal / "source-00000.json").write_bytes(b"{")
    elif damage == "gone":
        table.unlink()
    elif damage == "unreadable":
        record.unlink()
        record.mkdir()
    else:
        content = bytearray(table.read_bytes())
        content[-20] ^= 1
        table.write_bytes(content)
    if damage == "unreadable":  # it cannot be replaced either: one line, and nothing is lost
        with pytest.raises(WriteError, match=r"out\.mct: cannot be written"):
            convert(source, tmp_path / "out.mct")
        record.rmdir()
    convert(source, tmp_path / "out.mct")
    assert files(tmp_path / "out.mct") == files(tmp_path / "whole.mct")


def test_bad_trajectory_keeps_what_was_finished(source: Path, tmp_path: Path) -> None:
    """Stopped by a bad trajectory, the rerun with `keep_going` continues behind it."""
    content = torch.load(source / "replay_buffer_2.pt")
    content[0][1][0][0, 0] = float("nan")
    torch.save(content, source / "replay_buffer_2.pt")
    with pytest.raises(SourceError):
        convert(source, tmp_path / "out.mct")
    assert not os.path.lexists(tmp_path / "out.mct")
    events: list[Event] = []
    assert convert(source, tmp_path / "out.mct", ConvertOptions(keep_going=True), on_event=events.append) == 5
    assert [event.kind for event in events if event.kind in ("resumed", "skipped")] == ["resumed", "skipped"]
    convert(source, tmp_path / "fresh.mct", ConvertOptions(keep_going=True))
    assert files(tmp_path / "out.mct") == files(tmp_path / "fresh.mct")


@pytest.mark.parametrize("skip", [True, False], ids=["skip again", "skip no more"])
def test_omission_is_told_or_refused_after_an_interruption(source: Path, tmp_path: Path, skip: bool) -> None:
    """A rerun tells again what is left out, and without `keep_going` does not publish without it."""
    content = torch.load(source / "replay_buffer_1.pt")
    content[0][1][0][0, 0] = float("nan")
    torch.save(content, source / "replay_buffer_1.pt")

    def stop(event: Event) -> None:
        if event.kind == "file" and event.file == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / "out.mct", ConvertOptions(keep_going=True), on_event=stop)
    events: list[Event] = []
    options = ConvertOptions(keep_going=skip)
    if skip:
        assert convert(source, tmp_path / "out.mct", options, on_event=events.append) == 5
        assert len([event for event in events if event.kind == "skipped"]) == 1
    else:
        with pytest.raises(SourceError) as caught:
            convert(source, tmp_path / "out.mct", options, on_event=events.append)
        assert caught.value.reason == "non_finite"
        assert not os.path.lexists(tmp_path / "out.mct")
    assert [event.kind for event in events].count("resumed") == 1


# --- others at the same place -----------------------------------------------------------------------------


def test_second_conversion_to_the_same_place_is_refused(source: Path, tmp_path: Path) -> None:
    """While one conversion writes, another to the same destination is refused, and the first completes."""
    refusals: list[str] = []

    def second(event: Event) -> None:
        if event.kind == "trajectory" and not refusals:
            with pytest.raises(UsageError, match="another process") as caught:
                convert(source, tmp_path / "out.mct")
            refusals.append(str(caught.value))

    assert convert(source, tmp_path / "out.mct", on_event=second) == 6
    assert len(refusals) == 1
    assert validate(tmp_path / "out.mct") == []


def test_destination_that_appears_meanwhile_is_kept(source: Path, tmp_path: Path) -> None:
    """What someone else puts at the destination during the work is not replaced."""

    def intrude(event: Event) -> None:
        if event.kind == "trajectory":
            (tmp_path / "out.mct").mkdir(exist_ok=True)
            (tmp_path / "out.mct" / "precious").write_bytes(b"x")

    with pytest.raises(trajfmt.ExistsError):
        convert(source, tmp_path / "out.mct", on_event=intrude)
    assert files(tmp_path / "out.mct") == {"precious": b"x"}


def test_two_destinations_side_by_side_do_not_meet(source: Path, tmp_path: Path) -> None:
    """Conversions to .mct and .mtt of one name may run at the same time."""
    done: list[int] = []

    def other(event: Event) -> None:
        if event.kind == "trajectory" and not done:
            done.append(convert(source, tmp_path / "out.mtt"))

    convert(source, tmp_path / "out.mct", on_event=other)
    assert done == [6]
    assert validate(tmp_path / "out.mct") == validate(tmp_path / "out.mtt") == []


# --- writes that do not go through ------------------------------------------------------------------------

FULL_DISK = """
import resource, signal, sys
from importlib.metadata import entry_points
import torch, trajfmt.sources.mtt_family.mtt
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
sys.argv = ["traj", *sys.argv[2:]]
(script,) = entry_points(group="console_scripts", name="traj")
sys.exit(script.load()())
"""


@pytest.mark.parametrize(
    "case",
    [
        "convert src out.mct",
        pytest.param(
            "convert src out.mtt",
        ),
        pytest.param(
            "convert src out.mtt --codec zstd",
        ),
        pytest.param("export whole.mtt back"),
        "extract whole.mtt --t 1 -o theta.safetensors",
    ],
)
def test_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, case: str) -> None:
    """When no more can be written the command says so in one line, and nothing is at the destination."""
    save(tmp_path / "src", 0, 1, 20, ((120, 100),))
    convert(tmp_path / "src", tmp_path / "whole.mtt")
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, "40000", *case.split()],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, (done.returncode, done.stderr[-500:])
    assert "Traceback" not in done.stderr
    told = [line for line in done.stderr.splitlines() if not line.startswith("note:")]
    assert len(told) == 1
    assert told[0].startswith("error:")
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith(".")) == ["src", "whole.mtt"]


def test_short_writes_are_completed(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`pwrite` may write less than it is given; the rest follows."""
    convert(source, tmp_path / "whole.mct")
    original, shortened = os.pwrite, list[int]()

    def short(fd: int, data: Any, at: int) -> int:
        if len(data) > 1000:
            shortened.append(at)
        return original(fd, bytes(data)[:1000], at)

    monkeypatch.setattr(os, "pwrite", short)
    convert(source, tmp_path / "out.mct")
    assert shortened
    assert files(tmp_path / "out.mct") == files(tmp_path / "whole.mct")
