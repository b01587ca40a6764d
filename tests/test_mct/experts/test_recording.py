"""Where trajectories go: what is kept, taken over and removed."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
from mct.errors import ExistsError  # noqa: E402
from mct.events import ExpertDone, ExpertsFound  # noqa: E402
from tests.helpers.experts import run_of, stop_after  # noqa: E402
from tests.helpers.folders import contents  # noqa: E402


@pytest.mark.parametrize("out", ["experts.mct", "experts.mtt", "buffers"])
@pytest.mark.parametrize("stops", [(1,), (2, 11), (10,)])
def test_interrupted_run_continues(tmp_path: Path, out: str, stops: tuple[int, ...]) -> None:
    """Finished experts are not trained again, nothing is at a bundle's place before, and bytes are equal."""
    small = {"experts": 12, "epochs": 2, "batch_size": 2000}
    whole = tmp_path / "whole" / out
    whole.parent.mkdir()
    for _ in run_of(whole, **small).events():
        pass
    done = 0
    for stop in stops:
        stop_after(run_of(tmp_path / out, **small), stop - done)
        done = stop
        assert out == "buffers" or not (tmp_path / out).exists()
    events = list(run_of(tmp_path / out, **small).events())
    assert [event.count for event in events if isinstance(event, ExpertsFound)] == [done]
    assert [e.expert for e in events if isinstance(e, ExpertDone)] == list(range(done, 12))
    assert contents(tmp_path / out) == contents(whole)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([out, "whole"])


def test_hidden_bundle_of_a_written_file_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that ends between the file and the removal of what it was made from leaves no second copy."""
    small = {"experts": 11, "epochs": 2, "batch_size": 2000}
    for _ in run_of(tmp_path / "whole", **small).events():
        pass

    def stopped(_bundle: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mct.experts.recording.shutil", SimpleNamespace(rmtree=stopped))
        with pytest.raises(KeyboardInterrupt):
            list(run_of(tmp_path / "out", **small).events())
    assert len(list(tmp_path.rglob(".replay_buffer_0.mtt"))) == 1
    for _ in run_of(tmp_path / "out", **small).events():
        pass
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("out", ["out.mct", "out.mtt", "buffers"])
def test_other_settings_do_not_touch_an_interrupted_run(tmp_path: Path, out: str) -> None:
    """They are refused, and the first settings continue from every finished expert."""
    stop_after(run_of(tmp_path / out), 1)
    with pytest.raises(ExistsError, match="other settings"):
        next(run_of(tmp_path / out, lr=0.01).events())
    assert next(run_of(tmp_path / out).events()) == ExpertsFound(count=1)


@pytest.mark.parametrize("left", [{".experts": b""}, {".experts": b"half"}, {"..experts.partial": b"half"}])
def test_half_of_a_marker_is_nothing(tmp_path: Path, left: dict[str, bytes]) -> None:
    """A run that was killed before it stored anything is started by any command, also with other settings."""
    small = {"experts": 1, "epochs": 1, "batch_size": 2000}
    folder = run_of(tmp_path / "out", **small).path
    folder.mkdir(parents=True)
    for name, data in left.items():
        (folder / name).write_bytes(data)
    for out in ("out", "whole"):
        for _ in run_of(tmp_path / out, **small).events():
            pass
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_foreign_files_are_refused_beside_a_marker_of_another_run(tmp_path: Path) -> None:
    """Where something lies beside the marker, the marker decides."""
    run = run_of(tmp_path / "out")
    run.path.mkdir(parents=True)
    (run.path / ".experts").write_bytes(b"other")
    (run.path / "replay_buffer_0.pt").write_bytes(b"precious")
    with pytest.raises(ExistsError, match="other settings"):
        next(run.events())
    assert (run.path / "replay_buffer_0.pt").read_bytes() == b"precious"


def test_set_of_experts_grows_after_a_kill_at_the_end(tmp_path: Path) -> None:
    """Killed between the last, short file and the end of the run: its two experts are two, not ten."""
    run = run_of(tmp_path)
    for _ in run.events():
        pass
    (run.path / ".experts").write_bytes(run._job().identity)
    events = list(run_of(tmp_path, experts=3).events())
    assert events[0] == ExpertsFound(count=2)
    assert [event.expert for event in events if isinstance(event, ExpertDone)] == [2]


def test_interruption_before_the_first_expert_leaves_nothing(tmp_path: Path) -> None:
    """Neither a folder nor a hidden file."""
    for out in ("out.mct", "buffers"):
        events = run_of(tmp_path / out).events()
        next(events)
        events.close()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_kill_keeps_finished_experts(tmp_path: Path) -> None:
    """A real kill -9 after the first expert: the second run has it, and ends with the same bytes."""
    code = f"""
import os, signal
from pathlib import Path
from mct.experts.run import ExpertRun
from mct.events import ExpertDone
run = ExpertRun.prepare("digits", Path({str(tmp_path / "out.mct")!r}), model="ConvNetD2W4",
                        experts=2, epochs=3, lr=0.05, batch_size=500, augment="none")
for event in run.events():
    if isinstance(event, ExpertDone):
        os.kill(os.getpid(), signal.SIGKILL)
"""
    threads = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}  # sums depend on them
    killed = subprocess.run([sys.executable, "-c", code], check=False, env=threads)
    assert killed.returncode == -9
    events = list(run_of(tmp_path / "out.mct").events())
    assert isinstance(events[0], ExpertsFound)
    for _ in run_of(tmp_path / "whole.mct").events():
        pass
    assert contents(tmp_path / "out.mct") == contents(tmp_path / "whole.mct")
