"""The files of a run: taken, continued, refused."""

import errno
import json
import os
import stat
from dataclasses import asdict, replace
from pathlib import Path

import msgspec
import pytest

torch = pytest.importorskip("torch")
from mct.distillation import state as states  # noqa: E402
from mct.distillation.distiller import Distiller  # noqa: E402
from mct.distillation.folder import RunFolder  # noqa: E402
from mct.distillation.loop import distill  # noqa: E402
from mct.errors import ExistsError, MismatchError, MissingError  # noqa: E402
from tests.helpers.distilling import CONFIG, PROTOCOL, assert_same_run, distiller_of, run_whole  # noqa: E402
from tests.helpers.faults import no_locks  # noqa: E402
from trajfmt.errors import FileSystemWarning  # noqa: E402


def test_metrics_beyond_the_state_are_cut(tmp_path: Path, bundle, digits, model) -> None:
    """A killed run may have written more lines than steps; resuming drops them, whole or not."""
    folder = RunFolder(tmp_path / "run")
    short = replace(CONFIG, outer_steps=2)
    for _ in distill(distiller_of(bundle, digits, model, short), folder):
        pass
    with folder.metrics.open("a") as file:
        file.write('{"step": 3}\n{"st')
    for _ in distill(distiller_of(bundle, digits, model), folder, resume=True):
        pass
    steps = [json.loads(line)["step"] for line in folder.metrics.read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_a_damaged_line_of_the_metrics_is_dropped_alone(tmp_path: Path, bundle, digits, model) -> None:
    """Later lines are kept: they are the history of the run."""
    folder = RunFolder(tmp_path / "run")
    for _ in distill(distiller_of(bundle, digits, model, replace(CONFIG, outer_steps=4)), folder):
        pass
    lines = folder.metrics.read_bytes().splitlines(keepends=True)
    folder.metrics.write_bytes(b"".join([lines[0].replace(b'"step"', b'"stxp"'), *lines[1:]]))
    longer = replace(CONFIG, outer_steps=5)
    for _ in distill(distiller_of(bundle, digits, model, longer), folder, resume=True):
        pass
    assert folder.metrics.read_bytes().splitlines(keepends=True)[: len(lines) - 1] == lines[1:]


def test_statistics_of_the_same_images_may_differ_by_rounding(tmp_path: Path, bundle, digits, model) -> None:
    """Another number of threads adds the pixels in another order; other statistics are another setting."""
    folder = RunFolder(tmp_path / "run")
    for _ in distill(distiller_of(bundle, digits, model, replace(CONFIG, outer_steps=1)), folder):
        pass
    origin = folder.origin()
    done = origin.preprocessing
    assert done.images_sha256 is not None
    for factor, same in ((1 + 1e-12, True), (1 + 1e-6, False)):
        other = msgspec.structs.replace(done, std=[value * factor for value in done.std])
        moved = replace(origin, preprocessing=other)
        if same:
            assert folder.resume(moved, device=torch.device("cpu")).step == 1
        else:
            with pytest.raises(MismatchError, match="`preprocessing`"):
                folder.resume(moved, device=torch.device("cpu"))


def test_folder_with_files_is_refused(tmp_path: Path, bundle, digits, model) -> None:
    """A run never starts over files of another, and nothing is changed by the attempt."""
    folder = RunFolder(tmp_path)
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(ExistsError, match="not empty"):
        next(distill(distiller_of(bundle, digits, model), folder))
    assert [entry.name for entry in tmp_path.iterdir()] == ["precious"]


def test_half_of_a_first_state_is_nothing(tmp_path: Path, bundle, digits, model) -> None:
    """A run that was killed while it wrote its first file can be started again; what it left goes."""
    (tmp_path / ".state.safetensors.partial").write_bytes(b"half")
    folder = RunFolder(tmp_path)
    run_whole(distiller_of(bundle, digits, model, replace(CONFIG, outer_steps=1)), folder)
    assert not list(tmp_path.glob(".*"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / ".state.safetensors.partial").write_bytes(b"half")
    with pytest.raises(MissingError, match="start it without --resume"):
        next(distill(distiller_of(bundle, digits, model), RunFolder(tmp_path / "elsewhere"), resume=True))


def test_half_written_files_of_a_killed_save_are_removed(tmp_path: Path, bundle, digits, model) -> None:
    """Whichever file it was; a file that is not of the run stays."""
    folder = RunFolder(tmp_path)
    run_whole(distiller_of(bundle, digits, model, replace(CONFIG, outer_steps=1)), folder)
    for name in (".state.safetensors.partial", ".images.png.partial", ".settings.json.partial", ".mine"):
        (tmp_path / name).write_bytes(b"half")
    run_whole(distiller_of(bundle, digits, model, replace(CONFIG, outer_steps=2)), folder, resume=True)
    assert [path.name for path in tmp_path.glob(".*")] == [".mine"]


def test_two_runs_in_one_folder_at_once_are_refused(tmp_path: Path, bundle, digits, model) -> None:
    """The folder is locked for the whole run; a resume waits for nobody and changes nothing."""
    folder = RunFolder(tmp_path / "run")
    first = distill(distiller_of(bundle, digits, model), folder)
    next(first)
    with pytest.raises(ExistsError, match="another run"):
        next(distill(distiller_of(bundle, digits, model), RunFolder(tmp_path / "run"), resume=True))
    first.close()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EBADF, errno.EIO, errno.EOPNOTSUPP])
@pytest.mark.filterwarnings("default::trajfmt.errors.FileSystemWarning")
def test_run_on_a_file_system_without_locks(
    tmp_path: Path, monkeypatch, bundle, digits, model, number: int
) -> None:
    """It goes on, and says so; a file keeps a second run out, and goes with the first."""
    no_locks(monkeypatch, number, tmp_path)
    folder = RunFolder(tmp_path / "run")
    first = distill(distiller_of(bundle, digits, model), folder)
    with pytest.warns(FileSystemWarning, match="run: this file system has no locks"):
        next(first)
    assert (folder.path / ".lock").is_file()
    with pytest.raises(ExistsError, match=r"another run .*\.lock is its lock; if that process has ended"):
        next(distill(distiller_of(bundle, digits, model), RunFolder(tmp_path / "run"), resume=True))
    first.close()
    assert not (folder.path / ".lock").exists()


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EACCES])
def test_lock_of_another_run_is_told_by_its_error(tmp_path: Path, monkeypatch, number: int) -> None:
    """Only the errors that flock documents for it."""
    no_locks(monkeypatch, number, tmp_path)
    with pytest.raises(ExistsError, match=r"another run is writing here; use another --out$"):
        RunFolder(tmp_path / "run").lock().__enter__()


def test_run_that_was_killed_before_its_first_save_continues(tmp_path: Path, bundle, digits, model) -> None:
    """The state is on disk before the first step, so that a resume always has one."""
    whole, killed = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "killed")
    for _ in distill(distiller_of(bundle, digits, model), whole):
        pass
    events = distill(distiller_of(bundle, digits, model), killed)
    next(events)
    survived = {entry.name: entry.read_bytes() for entry in killed.path.iterdir()}
    events.close()
    for entry in killed.path.iterdir():  # what a kill would have left
        entry.unlink()
    for name, data in survived.items():
        (killed.path / name).write_bytes(data)
    for _ in distill(distiller_of(bundle, digits, model), killed, resume=True):
        pass
    assert killed.result.read_bytes() == whole.result.read_bytes()


def test_second_run_in_a_folder_is_refused(tmp_path: Path, bundle, digits, model) -> None:
    """Without `resume`, a folder with a run is refused and left alone."""
    folder = RunFolder(tmp_path / "run")
    for _ in distill(distiller_of(bundle, digits, model), folder):
        pass
    before = {entry.name: entry.read_bytes() for entry in folder.path.iterdir()}
    with pytest.raises(ExistsError, match="--resume"):
        next(distill(distiller_of(bundle, digits, model), folder))
    assert before == {entry.name: entry.read_bytes() for entry in folder.path.iterdir()}


@pytest.mark.parametrize("change", [{"momentum": 0.6}, {"inner_steps": 4}, {"seed": 1}, {"augment": "none"},
                                    {"select": "test"}, {"labels": "teacher"}])  # fmt: skip
def test_resume_with_another_setting_is_refused(tmp_path: Path, bundle, digits, model, change) -> None:
    """What would make another run is named."""
    folder = RunFolder(tmp_path / "run")
    for _ in distill(distiller_of(bundle, digits, model, replace(CONFIG, outer_steps=1)), folder):
        pass
    other = distiller_of(bundle, digits, model, replace(CONFIG, **change))
    with pytest.raises(MismatchError, match=f"`{next(iter(change))}`"):
        next(distill(other, folder, resume=True))


def test_resume_of_another_bundle_is_refused(tmp_path: Path, bundle, digits, model) -> None:
    """A state belongs to one artifact."""
    folder = RunFolder(tmp_path / "run")
    for _ in distill(distiller_of(bundle, digits, model, replace(CONFIG, outer_steps=1)), folder):
        pass
    other = Distiller(bundle, digits, model, CONFIG, artifact_sha256="cd" * 32)
    with pytest.raises(MismatchError, match="artifact_sha256"):
        next(distill(other, folder, resume=True))


def test_resume_of_nothing_is_refused(tmp_path: Path, bundle, digits, model) -> None:
    """Resuming needs a state."""
    with pytest.raises(MissingError, match="no run to resume"):
        next(distill(distiller_of(bundle, digits, model), RunFolder(tmp_path), resume=True))


def test_settings_are_written_beside_the_result(tmp_path: Path, bundle, digits, model) -> None:
    """Every setting resolved, the artifact and the versions; renewed when a run is resumed."""
    folder = RunFolder(tmp_path / "run")
    run_whole(distiller_of(bundle, digits, model, replace(CONFIG, max_start=None)), folder)
    found = json.loads(folder.settings.read_text())
    assert found["settings"]["artifact_sha256"] == "ab" * 32
    assert (found["settings"]["config"]["max_start"], found["settings"]["config"]["lr_img"]) == (4.0, 10.0)
    assert found["settings"]["evaluation"] == asdict(PROTOCOL)
    assert found["versions"]["torch"] == torch.__version__
    longer = replace(CONFIG, max_start=4.0, outer_steps=7)
    run_whole(distiller_of(bundle, digits, model, longer), folder, resume=True)
    assert json.loads(folder.settings.read_text())["settings"]["config"]["outer_steps"] == 7


@pytest.mark.parametrize("full_at", [1, 2, 4, 6, 8])
def test_full_disk_is_one_line_and_keeps_what_was_saved(
    tmp_path: Path, bundle, digits, model, monkeypatch, full_at
) -> None:
    """The error names the file; with room again, the run continues as if nothing had happened."""
    whole, folder = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "run")
    run_whole(distiller_of(bundle, digits, model), whole)
    calls, fsync = [], os.fsync

    def full(descriptor: int) -> None:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):  # folders need no room
            calls.append(descriptor)
        if len(calls) >= full_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        run_whole(distiller_of(bundle, digits, model), folder)
    assert caught.value.errno == errno.ENOSPC
    assert Path(caught.value.filename).parent == folder.path
    assert not list(folder.path.glob(".*"))
    monkeypatch.undo()
    assert folder.state.exists() == (full_at > 1)
    if folder.state.exists():
        assert states.load(folder.state).step == {2: 0, 4: 0, 6: 4, 8: 6}[full_at]
    run_whole(distiller_of(bundle, digits, model), folder, resume=folder.state.exists())
    assert_same_run(whole, folder)


@pytest.mark.parametrize("field", ["labels_sha256", "test_sha256"])
def test_resume_with_other_labels_is_refused(tmp_path: Path, bundle, digits, model, field: str) -> None:
    """The images may be the same. A run that did not record them is continued."""
    folder = RunFolder(tmp_path / "run")
    distiller = distiller_of(bundle, digits, model)
    run_whole(distiller, folder)
    other = replace(distiller.origin, **{field: "0" * 64})
    with pytest.raises(MismatchError, match=f"the run has `{field}`"):
        folder.resume(other, device=torch.device("cpu"))
    state = states.load(folder.state)
    earlier = replace(state.synthetic.origin, **{field: None})
    states.save(folder.state, replace(state, synthetic=replace(state.synthetic, origin=earlier)))
    assert folder.resume(distiller.origin, device=torch.device("cpu")).step == state.step
