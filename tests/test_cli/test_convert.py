"""`traj convert` as its users meet it: messages, exit codes, dry runs, Ctrl-C, and nothing at DEST."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import trajfmt
from trajfmt.bundle.validation import validate
from trajfmt.storage.staging import Staging

torch = pytest.importorskip("torch")


def names(folder: Path) -> list[str]:
    """Return what lies in a folder, hidden or not."""
    return sorted(path.name for path in folder.iterdir())


def tensors(trajectories: Any) -> Any:
    """Return nested arrays as nested tensors."""
    return [[[torch.from_numpy(x.copy()) for x in step] for step in steps] for steps in trajectories]


def test_conversion_says_what_it_wrote(traj: Any, tmp_path: Path, buffer: Any) -> None:
    """The result goes to stdout in one line, remarks go to stderr, and the bundle is sound."""
    done = traj("convert", buffer(), tmp_path / "out.mct")
    assert done.code == 0
    out = tmp_path / "out.mct"
    size, source = (sum(f.stat().st_size for f in folder.rglob("*.*")) for folder in (out, buffer()))
    share = f"{size / 1000:.1f} kB, {100 * size / source:.2f}% of the source"
    assert re.fullmatch(rf"{re.escape(str(out))}: 2 trajectories, {share}, in \d+\.\d s\n", done.out)
    assert all(line.startswith("note: ") for line in done.err.splitlines())
    assert validate(tmp_path / "out.mct") == []
    assert names(tmp_path) == ["CIFAR10", "out.mct"]


def test_conversion_as_json(traj: Any, tmp_path: Path, buffer: Any) -> None:
    """With `--json` stdout is one object."""
    done = traj("convert", buffer(), tmp_path / "out.mtt", "--codec", "archive", "--json")
    facts, out = json.loads(done.out), tmp_path / "out.mtt"
    assert facts.pop("seconds") > 0
    assert facts == {
        "destination": str(out),
        "trajectories": 2,
        "bytes": sum(file.stat().st_size for file in out.rglob("*.*")),
        "source_bytes": sum(file.stat().st_size for file in buffer().iterdir()),
    }


def test_every_option_reaches_the_bundle(traj: Any, tmp_path: Path, buffer: Any) -> None:
    """Knots, smoothing, layers, window and facts by flags are in the manifest."""
    done = traj(
        *("convert", buffer("any/where"), tmp_path / "out.mct"),
        *("--knots", "1,3", "--smooth", "--layers", "module", "--timesteps", "1:6"),
        *("--dataset", "SVHN", "--model", "ConvNetD1W4BN", "--no-zca"),
    )
    assert done.code == 0, done.err
    assert "unknown" not in done.err
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        manifest = bundle.manifest
        assert manifest.smoothed
        assert bundle[0].knots == (0, 1, 3, 4)
        assert bundle.layout.num_layers == 3
        assert manifest.provenance.first_timestep == 1
        assert manifest.provenance.dataset == "SVHN"
        assert manifest.provenance.model.norm == "batch"
        assert manifest.provenance.preprocessing.kind == "normalize"


def test_conversion_for_a_preset(traj: Any, tmp_path: Path, buffer: Any) -> None:
    """The end is cut where its window ends, at max_start + M; `traj inspect` says where, and why."""
    source, out = buffer(timesteps=8), tmp_path / "out.mct"
    assert traj("convert", source, out, "--for-preset", "mtt-cifar10-zca-ipc1").code == 0  # 2 + 2
    assert trajfmt.open(out)[0].last == 4
    shown = traj("inspect", out).out
    assert "after timestep 4, where the window of mtt-cifar10-zca-ipc1 ends; later timesteps are not" in shown
    done = traj("convert", source, tmp_path / "datm.mct", "--for-preset", "datm-cifar10-zca-ipc1")
    assert "takes initial images or labels from the last timestep of the experts, which is 6" in done.err
    for name, also, code, said in (
        ("mtt-cifar10-ipc1", ["--timesteps", "0:8"], 2, "both say where to cut"),
        (
            "mtt-cifar10-zca-ipc2",
            [],
            2,
            "unknown preset 'mtt-cifar10-zca-ipc2'; did you mean mtt-cifar10-zca",
        ),
        ("mtt-cifar10-ipc10", [], 1, "ends at timestep 7, but the window of mtt-cifar10-ipc10 ends at 17"),
    ):
        done = traj("convert", source, tmp_path / "b.mct", "--for-preset", name, *also)
        assert done.code == code
        assert said in done.err
    assert traj("convert", out, tmp_path / "b.mct", "--for-preset", "mtt-cifar10-ipc1").error.endswith(
        "cannot be removed; omit --for-preset"
    )
    assert not (tmp_path / "b.mct").exists()


def test_conversion_with_averages(traj: Any, tmp_path: Path, buffer: Any) -> None:
    """`traj inspect` says that knots are means; what cannot be is refused in the words of the command."""
    source, out = buffer(timesteps=8), tmp_path / "out.mct"
    assert traj("convert", source, out, "--knots", "3", "--average", "3").code == 0
    assert "0, 3, 7; each but the first is the mean of 3 timesteps" in traj("inspect", out).out
    for also, code, said in (
        (["--average", "4"], 2, "--average must be odd with inserted knots"),
        (["--average", "3", "--smooth"], 2, "--average and --smooth are two ways to average the knots"),
        (
            ["--average", "7"],
            2,
            "around the knot 3 would include timestep 0; use a smaller",
        ),
        (["--average", "0"], 2, "0 is not in the range x>=1"),
        (
            ["--average", "5", "--timesteps", "0:5"],
            1,
            "has 5 timesteps, but knots that are means of 5 need 6",
        ),
    ):
        done = traj("convert", source, tmp_path / "b.mct", "--knots", "3", *also)
        assert done.code == code
        assert said in done.err
    assert not (tmp_path / "b.mct").exists()


def test_conversion_with_placed_knots(traj: Any, tmp_path: Path, buffer: Any) -> None:
    """`auto` places four knots, `auto:N` N of them; `traj inspect` says that they were placed."""
    source = buffer(timesteps=8)
    for name, word, count in (("a.mct", "auto", 4), ("b.mct", "auto:3", 3)):
        assert traj("convert", source, tmp_path / name, "--knots", word).code == 0
        assert len(trajfmt.open(tmp_path / name)[0].knots) == count
        assert "; placed where they miss the paths least" in traj("inspect", tmp_path / name).out
    for word, also, said in (
        ("auto:2", [], "expected auto:N with 3 or more knots"),
        ("auto:four", [], "expected auto:N with 3 or more knots"),
        ("automatic", [], "expected whole numbers separated by commas"),
        ("auto", ["--append"], "--append keeps the knots of the bundle: omit --knots auto"),
    ):
        done = traj("convert", source, tmp_path / "a.mct", "--knots", word, *also)
        assert done.code == 2
        assert said in done.err


def test_normalisation_with_other_constants(traj: Any, tmp_path: Path, buffer: Any) -> None:
    """Mean and deviation of another codebase are recorded; half of them, or a whitening beside, is exit 2."""
    source = buffer("any/where")
    done = traj("convert", source, tmp_path / "out.mct", "--mean", "0.5,0.25,0", "--std", "0.1,2,1")
    assert done.code == 0, done.err
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        found = bundle.manifest.provenance.preprocessing
    assert (found.kind, found.mean, found.std) == ("normalize", [0.5, 0.25, 0.0], [0.1, 2.0, 1.0])
    for wrong in (
        "--mean 0.5",
        "--mean 0,0 --std 1,1",
        "--mean 0,0 --std 1",
        "--mean 0 --std 0",
        "--zca --mean 0 --std 1",
    ):
        assert traj("convert", source, tmp_path / "no.mct", *wrong.split()).code == 2
    assert not (tmp_path / "no.mct").exists()


def aliased(content: Any) -> Any:
    """Make all timesteps of the second trajectory one and the same memory."""
    content[1] = [content[1][0]] * 6
    return content


def poisoned(content: Any) -> Any:
    """Put a NaN into the second trajectory."""
    content[1][3][1][2] = float("nan")
    return content


def shortened(content: Any) -> Any:
    """Leave one timestep of the second trajectory."""
    content[1] = content[1][:1]
    return content


def foreign(content: Any) -> Any:
    """Let the second trajectory be of another network."""
    content[1] = [step[:-1] for step in content[1]]
    return content


def repeated(content: Any) -> Any:
    """Let the second trajectory repeat the first."""
    content[1] = [[x.clone() for x in step] for step in content[0]]
    return content


def still(content: Any) -> Any:
    """Let the second trajectory stand still."""
    content[1] = [[x.clone() for x in content[1][0]] for _ in range(6)]
    return content


@pytest.mark.parametrize(
    ("harm", "reason", "words"),
    [
        (aliased, "aliased_timesteps", "trajectory 1"),
        (
            poisoned,
            "non_finite",
            "trajectory 1: weights must be finite: timestep 3, parameter `features.0.bias`",
        ),
        (shortened, "too_few_timesteps", "trajectory 1: a trajectory needs at least two timesteps, got 1"),
        (foreign, "mixed_architectures", "5 parameters instead of 6"),
        (
            repeated,
            "duplicate_trajectory",
            "the same first and last weights and number of timesteps as trajectory 0",
        ),
        (still, "no_motion", "trajectory 1: the weights are the same at every timestep"),
    ],
    ids=["aliased", "non-finite", "short", "foreign", "repeated", "still"],
)
def test_bad_trajectory_stops_or_is_left_out(
    traj: Any, tmp_path: Path, buffer: Any, weights: Any, harm: Any, reason: str, words: str
) -> None:
    """Each trap: exit 1 in one line with nothing at DEST; with --skip-bad it is left out, aloud."""
    folder = buffer(content=harm(tensors(weights())))
    done = traj("convert", folder, tmp_path / "out.mct")
    assert done.code == 1
    assert f"[{reason}]" in done.error
    assert words in done.error
    assert "replay_buffer_0.pt" in done.error
    assert done.out == ""
    assert not (tmp_path / "out.mct").exists()
    done = traj("convert", folder, tmp_path / "out.mct", "--skip-bad")
    assert done.code == 0
    assert "left out: " in done.err
    assert f"[{reason}]" in done.err
    assert validate(tmp_path / "out.mct") == []
    assert len(trajfmt.open(tmp_path / "out.mct")) == 1
    assert names(tmp_path) == ["CIFAR10", "out.mct"]


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"", 4), (b"P", 4), (b"hello\n", 1), (b"PK\x03\x04", 4), (b"\x80\x02", 4), (b"\x00" * 9, 4)],
    ids=["empty", "one byte", "text", "zip start", "pickle start", "zeros"],
)
def test_broken_file_is_one_line(traj: Any, tmp_path: Path, data: bytes, code: int) -> None:
    """A damaged or foreign file: its exit code, one line that names it, nothing else in the folder."""
    (tmp_path / "replay_buffer_0.pt").write_bytes(data)
    for command in (("convert", tmp_path, tmp_path / "out.mct"), ("inspect", tmp_path)):
        done = traj(*command)
        assert done.code == code
        assert "replay_buffer_0.pt" in done.error
    assert names(tmp_path) == ["replay_buffer_0.pt"]


def test_one_truncated_file_among_many_stops_before_publishing(
    traj: Any, tmp_path: Path, buffer: Any, weights: Any
) -> None:
    """A half copied last file is exit 4; copied again, the same command completes."""
    folder = buffer()
    buffer(number=1, content=tensors(weights(seed=1)))
    path = folder / "replay_buffer_1.pt"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    done = traj("convert", folder, tmp_path / "out.mct")
    assert done.code == 4
    assert "source_truncated" in done.error
    assert not (tmp_path / "out.mct").exists()
    path.write_bytes(whole)
    done = traj("convert", folder, tmp_path / "out.mct")
    assert done.code == 0
    assert validate(tmp_path / "out.mct") == []
    assert len(trajfmt.open(tmp_path / "out.mct")) == 4


def test_hole_in_the_numbering_is_told(traj: Any, tmp_path: Path, buffer: Any, weights: Any) -> None:
    """The note says which file MTT's reader would have stopped at."""
    folder = buffer()
    buffer(number=2, content=tensors(weights(seed=1)))
    done = traj("convert", folder, tmp_path / "out.mct")
    assert "no file 1" in done.err
    assert "4 trajectories" in done.out


@pytest.mark.parametrize("what", ["file", "folder", "dangling link"])
def test_existing_destination_exits_2(traj: Any, tmp_path: Path, buffer: Any, what: str) -> None:
    """DEST exists: refused, told how to go on, untouched."""
    folder, target = buffer(), tmp_path / "out.mct"
    if what == "file":
        target.write_bytes(b"precious")
    elif what == "folder":
        target.mkdir()
    else:
        target.symlink_to("nowhere")
    done = traj("convert", folder, target)
    assert done.code == 2
    assert "already exists" in done.error
    assert names(tmp_path) == ["CIFAR10", "out.mct"]
    if what == "file":
        assert target.read_bytes() == b"precious"


def test_convex_source_to_convex_exits_2(traj: Any, tmp_path: Path, bundle: Any) -> None:
    """.mct -> .mct is wrong usage."""
    assert "convexified already" in traj("convert", bundle(), tmp_path / "b.mct").error


def test_append_adds_and_a_duplicate_is_refused(traj: Any, tmp_path: Path, buffer: Any, weights: Any) -> None:
    """--append grows the bundle once; the same source again is refused and changes nothing."""
    target = tmp_path / "out.mct"
    assert traj("convert", buffer(), target).code == 0
    other = buffer("more/CIFAR10/ConvNet", content=tensors(weights(seed=1)))
    said = traj("convert", other, target, "--append").out
    assert f"{target}: 4 trajectories, " in said
    assert "of the source" not in said  # which is that of the two new ones only
    before = (target / "manifest.json").read_bytes()
    done = traj("convert", other, target, "--append")
    assert (done.code, "duplicate_trajectory" in done.error) == (1, True)
    assert (target / "manifest.json").read_bytes() == before
    assert validate(target) == []


@pytest.mark.parametrize("dest", ["out.mct", "out.mtt"])
def test_dry_run_writes_nothing(traj: Any, tmp_path: Path, buffer: Any, dest: str) -> None:
    """--dry-run describes source and result and leaves the folder as it was."""
    done = traj("convert", buffer(), tmp_path / dest, "--dry-run")
    assert done.code == 0
    for word in ("2 of 6 timesteps", "10,370", "CIFAR10", "not written"):
        assert word in done.out
    assert names(tmp_path) == ["CIFAR10"]


def test_dry_run_as_json(traj: Any, tmp_path: Path, buffer: Any) -> None:
    """The plan as JSON has a schema and the numbers that decide."""
    done = traj("convert", buffer(), tmp_path / "out.mct", "--dry-run", "--json", "--knots", "2")
    plan = json.loads(done.out)
    assert plan["schema"] == "trajfmt.plan/1"
    assert (plan["encoding"], plan["trajectories"], plan["timesteps"]) == ("convex", 2, [6, 6])
    assert (plan["parameters"], plan["dtype"], plan["skipped"]) == (10370, "F32", [])
    assert plan["provenance"]["dataset"] == "CIFAR10"
    traj("convert", tmp_path / "CIFAR10/ConvNet", tmp_path / "out.mct", "--knots", "2")
    real = sum(p.stat().st_size for p in (tmp_path / "out.mct" / "knots").iterdir())
    assert plan["bytes"] >= 0.98 * real


def test_busy_destination_exits_2(traj: Any, tmp_path: Path, buffer: Any) -> None:
    """While another process writes DEST, the command says so in one line and waits for nothing."""
    folder = buffer()
    other = Staging(tmp_path / "out.mct", b"other")
    done = traj("convert", folder, tmp_path / "out.mct")
    assert done.code == 2
    assert "another process is writing it" in done.error
    other.release()
    assert traj("convert", folder, tmp_path / "out.mct").code == 0


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_interrupt_leaves_nothing_and_the_rerun_continues(
    process: Any, traj: Any, tmp_path: Path, buffer: Any, weights: Any
) -> None:
    """SIGINT to the real command: exit 130, one line, nothing at DEST; the next run takes over."""
    for number in range(40):
        folder = buffer(number=number, content=tensors(weights(10, 6, seed=number)))
    running = process("convert", folder, tmp_path / "out.mct")
    journal = tmp_path / ".out.mct.partial" / "journal"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list(journal.glob("0*.json")):
        time.sleep(0.002)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert out == b""
    lines = [line for line in err.decode().splitlines() if not line.startswith("note: ")]
    assert lines == ["error: interrupted; run the same command again to continue"]
    assert not os.path.lexists(tmp_path / "out.mct")
    done = traj("convert", folder, tmp_path / "out.mct")
    assert done.code == 0
    assert re.search(r"\d+ finished trajector(y|ies) of an interrupted run", done.err)
    assert len(trajfmt.open(tmp_path / "out.mct")) == 400
    assert names(tmp_path) == ["CIFAR10", "out.mct"]


def test_escape_codes_in_a_destination_are_not_printed(traj: Any, tmp_path: Path, buffer: Any) -> None:
    """A path with control characters is escaped on success as it is in errors."""
    done = traj("convert", buffer(), tmp_path / "a\x1b[31mb.mct")
    assert done.code == 0
    assert "\x1b" not in done.out


def test_escape_codes_in_a_source_are_not_printed(traj: Any, tmp_path: Path, buffer: Any) -> None:
    """A dataset folder called with control characters is escaped in plans, notes and errors."""
    folder = buffer("a\x1b[31mb/ConvNet")
    for arguments in (
        ("convert", folder, tmp_path / "out.mct", "--dry-run"),
        ("convert", folder, tmp_path / "out.mct", "--timesteps", "9:12"),
        ("inspect", folder),
    ):
        done = traj(*arguments)
        assert "\x1b" not in done.out + done.err
        assert "\\x1b[31mb" in done.out + done.err


def test_inspect_of_the_current_folder(traj: Any, buffer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`traj inspect .` in the folder of a buffer works like with its full path."""
    monkeypatch.chdir(buffer())
    assert traj("inspect", ".").code == 0


def test_inspect_of_a_raw_buffer(traj: Any, tmp_path: Path, buffer: Any) -> None:
    """A raw MTT folder or file: what is there, and what converting would save; nothing is written."""
    folder = buffer(number=1)
    for path in (folder, folder / "replay_buffer_1.pt"):
        done = traj("inspect", path)
        assert done.code == 0
        for word in ("2 of 6 timesteps", "10,370", "CIFAR10", "zca", "% of the source"):
            assert word in done.out
    assert "does not start at 0" in traj("inspect", folder).err
    found = json.loads(traj("inspect", folder, "--json").out)
    assert found["schema"] == "trajfmt.plan/1"
    assert 0 < found["bytes"] < found["source_bytes"]
    assert names(tmp_path) == ["CIFAR10"]


def test_inspect_of_a_raw_buffer_lists_what_is_bad(traj: Any, buffer: Any, weights: Any) -> None:
    """An aliased trajectory is named by inspect already."""
    done = traj("inspect", buffer(content=aliased(tensors(weights()))))
    assert done.code == 0
    assert "aliased_timesteps" in done.err


def test_export_is_what_mtt_reads(traj: Any, tmp_path: Path, buffer: Any, weights: Any) -> None:
    """To .mtt and back: the original tensors, files numbered from 0; an existing DEST is refused."""
    traj("convert", buffer(), tmp_path / "a.mtt", "--codec", "zstd")
    done = traj("export", tmp_path / "a.mtt", tmp_path / "back", "--per-file", "1")
    assert (done.code, done.out) == (0, f"{tmp_path / 'back'}: 2 trajectories\n")
    assert names(tmp_path / "back") == ["replay_buffer_0.pt", "replay_buffer_1.pt"]
    for number, steps in enumerate(tensors(weights())):
        (found,) = torch.load(tmp_path / "back" / f"replay_buffer_{number}.pt")
        assert all(
            torch.equal(a, b) for x, y in zip(found, steps, strict=True) for a, b in zip(x, y, strict=True)
        )
    before = (tmp_path / "back" / "replay_buffer_0.pt").read_bytes()
    done = traj("export", tmp_path / "a.mtt", tmp_path / "back")
    assert (done.code, "already exists" in done.error) == (2, True)
    assert (tmp_path / "back" / "replay_buffer_0.pt").read_bytes() == before
    done = traj("export", tmp_path / "a.mtt", tmp_path / "no" / "back")
    assert (done.code, "no such folder" in done.error) == (2, True)
    assert names(tmp_path) == ["CIFAR10", "a.mtt", "back"]
