"""MTT's layout and its traps: what is refused, why, and that nothing is left at the destination."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.planning import plan
from trajfmt.convert.run import convert
from trajfmt.errors import CorruptError, UsageError

torch = pytest.importorskip("torch")
from tests.helpers.replay import expert, messages, refused, run, save, stack  # noqa: E402
from trajfmt.convert.events import Event  # noqa: E402

# --- the traps of MTT's own scripts ---------------------------------------------------------------------


def test_equal_timesteps_in_own_memory_did_not_move(tmp_path: Path) -> None:
    """A trajectory that never moves is refused even where every timestep has its own storage."""
    step = expert(0, 1)[0]
    path = save(tmp_path / "src", [[[x.clone() for x in step] for _ in range(4)]])
    assert refused(path.parent, "no_motion").exit_code == 1


def test_a_trajectory_that_never_moves_is_refused_in_full_too(tmp_path: Path) -> None:
    """What would be refused as .mct does not slip through as .mtt."""
    step = expert(0, 1)[0]
    path = save(tmp_path / "src", [[[x.clone() for x in step] for _ in range(4)]])
    refused(path.parent, "no_motion", ".mtt")


@pytest.mark.parametrize("suffix", [".mct", ".mtt"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("t", [0, 2, 4])
def test_non_finite_weight_names_trajectory_timestep_parameter(
    tmp_path: Path, suffix: str, value: float, t: int
) -> None:
    """The message of a non-finite weight says where it is."""
    bad = expert(1)
    bad[t][1][2] = value
    path = save(tmp_path / "src", [expert(0), bad])
    error = refused(path.parent, "non_finite", suffix)
    for part in ("replay_buffer_0.pt", "trajectory 1", f"timestep {t}", "`param.001`"):
        assert part in str(error)


@pytest.mark.parametrize("value", [float("inf"), 1e200], ids=["inf", "overflow"])
def test_non_finite_arithmetic_raises_the_error_and_no_warning(tmp_path: Path, value: float) -> None:
    """Infinity at two timesteps, or steps that overflow, give one error and no RuntimeWarning beside it."""
    bad = expert(1, dtype=torch.float64)
    bad[1][0][0, 0] = value
    bad[2][0][0, 0] = value if value == float("inf") else -value
    refused(save(tmp_path / "src", [bad]).parent, "non_finite")


def test_non_finite_timestep_is_numbered_as_in_the_source(tmp_path: Path) -> None:
    """With a window of timesteps the message still names the timestep that the user can look up."""
    bad = expert(1)
    bad[3][0][0, 0] = float("nan")
    assert "timestep 3" in str(refused(save(tmp_path / "src", [bad]).parent, "non_finite", timesteps=(2, 5)))


def test_non_finite_weight_outside_the_window_is_no_reason_to_refuse(tmp_path: Path) -> None:
    """A trajectory that diverged at the end converts when it is cut before."""
    bad = expert(1)
    bad[4][0][0, 0] = float("nan")
    destination, _ = run(save(tmp_path / "src", [bad]).parent, timesteps=(0, 4))
    with trajfmt.open(destination) as bundle:
        assert np.array_equal(bundle[0].knot(1), stack(bad)[3])


@pytest.mark.parametrize("suffix", [".mct", ".mtt"])
def test_keep_going_leaves_out_what_is_bad_and_says_so(tmp_path: Path, suffix: str) -> None:
    """Non-finite, still short, foreign and repeated trajectories are left out one by one, the rest kept."""
    nan = expert(1)
    nan[2][0][0, 0] = float("nan")
    first, last = expert(0), expert(9)
    copy = [[x.clone() for x in step] for step in first]
    content = [first, nan, expert(2, 1), expert(3, shapes=((2,),)), copy, last]
    destination, events = run(save(tmp_path / "src", content).parent, suffix, keep_going=True)
    told = messages(events, "skipped")
    reasons = ("non_finite", "too_few_timesteps", "mixed_architectures", "duplicate_trajectory")
    assert [text.rpartition("[")[2].rstrip("]") for text in told] == list(reasons)
    assert [f"trajectory {n}:" in text for n, text in enumerate(told, 1)] == [True] * 4
    with trajfmt.open(destination) as bundle:
        assert len(bundle) == 2
        assert [entry.origin.trajectory for entry in bundle.manifest.trajectories] == [0, 5]
        assert np.array_equal(bundle[1].at(bundle[1].last), stack(last)[-1])


def test_keep_going_with_nothing_left_is_refused(tmp_path: Path) -> None:
    """Leaving out everything is no success."""
    refused(save(tmp_path / "src", [expert(0, 1)]).parent, "nothing_to_convert", keep_going=True)
    assert [p.name for p in tmp_path.iterdir()] == ["src"]


@pytest.mark.parametrize("split", [False, True], ids=["one file", "two files"])
def test_mixed_architectures_are_refused(tmp_path: Path, split: bool) -> None:
    """Another network is refused within a file and across files, and the difference is named."""
    one, other = expert(0), expert(1, shapes=((4, 3), (5,), (2, 2)))
    if split:
        save(tmp_path / "src", [one], 0)
        save(tmp_path / "src", [other], 1)
    else:
        save(tmp_path / "src", [one, other])
    error = refused(tmp_path / "src", "mixed_architectures")
    assert "parameter 1 has shape (5,) instead of (4,)" in str(error)
    assert f"replay_buffer_{int(split)}.pt" in str(error)


def test_same_sizes_in_other_shapes_are_mixed(tmp_path: Path) -> None:
    """Equal element counts do not hide another network (MTT's reader would accept it)."""
    save(tmp_path / "src", [expert(0, shapes=((4, 3),)), expert(1, shapes=((3, 4),))])
    refused(tmp_path / "src", "mixed_architectures")


def test_unequal_lengths_are_legal(tmp_path: Path) -> None:
    """Trajectories of 3, 7 and 2 timesteps convert with their own T."""
    content = [expert(0, 3), expert(1, 7), expert(2, 2)]
    destination, _ = run(save(tmp_path / "src", content).parent)
    with trajfmt.open(destination) as bundle:
        assert [item.timesteps for item in bundle] == [3, 7, 2]
        assert all(np.array_equal(b.knot(1), stack(c)[-1]) for b, c in zip(bundle, content, strict=True))


@pytest.mark.parametrize(
    ("numbers", "word"),
    [((0, 3, 4), "gaps"), ((2, 3), "start at 0"), ((1, 3), "gaps"), ((68,), "start at 0")],
)
def test_numbering_with_holes_is_reported_and_all_files_are_used(
    tmp_path: Path, numbers: tuple[int, ...], word: str
) -> None:
    """MTT's reader stops at the first missing number; here every file counts, and the hole is told."""
    for number in numbers:
        save(tmp_path / "src", [expert(number)], number)
    destination, events = run(tmp_path / "src")
    assert any(word in text for text in messages(events, "notice"))
    with trajfmt.open(destination) as bundle:
        for item, number in zip(bundle, numbers, strict=True):
            assert np.array_equal(item.knot(0), stack(expert(number))[0])


def test_files_are_taken_in_numeric_order(tmp_path: Path) -> None:
    """File 2 comes before file 10, whatever the letters say, and contiguous numbers raise no remark."""
    for number in range(12):
        save(tmp_path / "src", [expert(number, 2)], number)
    destination, events = run(tmp_path / "src")
    assert not any("numbering" in text for text in messages(events, "notice"))
    with trajfmt.open(destination) as bundle:
        assert [float(item.knot(0)[0]) for item in bundle] == [
            float(expert(n)[0][0][0, 0]) for n in range(12)
        ]
        names = [source.name for source in bundle.manifest.provenance.sources]
        assert names == [f"replay_buffer_{n}.pt" for n in range(12)]


def test_an_enormous_file_number_costs_nothing(tmp_path: Path) -> None:
    """A file called replay_buffer_<10 digits>.pt does not fill the memory."""
    save(tmp_path / "src", [expert(0)], 3_000_000_000)
    code = (
        "import sys; from trajfmt.sources.discovery import open_source; from pathlib import Path;"
        "print(len(open_source(Path(sys.argv[1])).parts))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "src")],
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2 * 10**9, 2 * 10**9)),
    )
    assert done.stdout == "1\n", done.stderr


def test_duplicate_within_a_file_is_refused(tmp_path: Path) -> None:
    """The same trajectory twice in a file is refused, naming its twin."""
    copy = [[x.clone() for x in step] for step in expert(0)]
    error = refused(save(tmp_path / "src", [expert(0), expert(1), copy]).parent, "duplicate_trajectory")
    assert "trajectory 2" in str(error)
    assert "trajectory 0 of the bundle" in str(error)


@pytest.mark.parametrize("suffix", [".mct", ".mtt"])
def test_duplicate_across_files_is_refused(tmp_path: Path, suffix: str) -> None:
    """EDF's restarts write trajectories again under the next number: refused."""
    save(tmp_path / "src", [expert(0), expert(1)], 0)
    save(tmp_path / "src", [expert(1)], 1)
    assert "replay_buffer_1.pt: trajectory 0" in str(
        refused(tmp_path / "src", "duplicate_trajectory", suffix)
    )


def test_same_start_and_another_end_is_no_duplicate(tmp_path: Path) -> None:
    """Two runs from one initialisation are two trajectories."""
    other = expert(1)
    other[0] = [x.clone() for x in expert(0)[0]]
    destination, _ = run(save(tmp_path / "src", [expert(0), other]).parent)
    assert len(trajfmt.open(destination)) == 2


@pytest.mark.parametrize(
    ("content", "reason", "words"),
    [
        ([[]], "too_few_timesteps", "has no timesteps"),
        ([[[]]], "source_invalid", "a timestep has no tensors"),
        ([[[], []]], "source_invalid", "a timestep has no tensors"),
    ],
    ids=["no timesteps", "one, no tensors", "no tensors"],
)
@pytest.mark.parametrize("suffix", [".mct", ".mtt"])
def test_empty_trajectory_is_refused_in_one_line(
    tmp_path: Path, content: Any, reason: str, words: str, suffix: str
) -> None:
    """No timestep is fewer than two, not a mix of types; one without tensors is damage."""
    path = save(tmp_path / "src", content)
    assert words in str(refused(path.parent, reason, suffix))
    assert [p.name for p in tmp_path.iterdir()] == ["src"]


def test_buffer_without_trajectories_is_refused(tmp_path: Path) -> None:
    """An empty list has nothing to convert."""
    refused(save(tmp_path / "src", []), "nothing_to_convert")


def test_two_timesteps_are_enough(tmp_path: Path) -> None:
    """T = 1: beta is 0 and 1, both ends exact."""
    destination, _ = run(save(tmp_path / "src", [expert(0, 2)]).parent)
    with trajfmt.open(destination) as bundle:
        assert bundle[0].u.tolist() == [[0.0] * 3, [1.0] * 3]
        assert np.array_equal(bundle[0].at(1), stack(expert(0, 2))[1])


@pytest.mark.parametrize("window", [(4, 5), (7, 9)])
def test_window_with_fewer_than_two_timesteps_is_refused(tmp_path: Path, window: tuple[int, int]) -> None:
    """A cut that leaves one timestep or none is refused."""
    path = save(tmp_path / "src", [expert(0)])
    refused(path, "too_few_timesteps", timesteps=window)


# --- what tensors may be ----------------------------------------------------------------------------------


def test_tuples_instead_of_lists_convert(tmp_path: Path) -> None:
    """Nesting by tuples is as good as by lists."""
    content = tuple(tuple(tuple(step) for step in expert(seed)) for seed in range(2))
    assert len(trajfmt.open(run(save(tmp_path / "src", content).parent)[0])) == 2


def test_mixed_types_convert_into_one_that_is_named(tmp_path: Path) -> None:
    """float16 beside float32 is refused with the advice to name a type; named, all are stored in it."""
    content = [[[x.half() if i else x for i, x in enumerate(step)] for step in expert(0)]]
    path = save(tmp_path / "src", content)
    assert "--dtype" in str(refused(path.parent, "mixed_dtypes"))
    destination, _ = run(path.parent, ".mtt", dtype="F32")
    assert np.array_equal(
        trajfmt.open(destination)[0].at(2), stack([[x.float() for x in s] for s in content[0]])[2]
    )


def test_mixed_types_across_trajectories_are_refused(tmp_path: Path) -> None:
    """A float64 trajectory after float32 ones is refused, not rounded."""
    refused(save(tmp_path / "src", [expert(0), expert(1, dtype=torch.float64)]), "mixed_dtypes")


@pytest.mark.parametrize("suffix", [".mct", ".mtt"])
def test_scalar_and_empty_parameters_convert(tmp_path: Path, suffix: str) -> None:
    """A scalar and a parameter without elements keep their place in the table."""
    content = expert(0, shapes=((), (3, 0), (2,)))
    destination, _ = run(save(tmp_path / "src", [content]).parent, suffix)
    with trajfmt.open(destination) as bundle:
        assert [p.shape for p in bundle.layout.parameters] == [(), (3, 0), (2,)]
        assert np.array_equal(bundle[0].at(4), stack(content)[4])


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(".mct", "none"), (".mtt", "none"), (".mtt", "zstd")],
)
def test_network_without_elements_is_refused(tmp_path: Path, suffix: str, codec: str) -> None:
    """A network of nothing but empty tensors is an error of ours."""
    path = save(tmp_path / "src", [expert(0, shapes=((0,), (2, 0)))])
    assert "the parameters have no elements" in str(refused(path, "source_invalid", suffix, codec=codec))


def test_too_many_dimensions_are_refused_before_the_work(tmp_path: Path) -> None:
    """A shape that the format cannot hold is a matter of the source, told by plan and conversion alike."""
    path = save(tmp_path / "src", [expert(0, shapes=((1,) * 9,))])
    for look in (convert, plan):
        with pytest.raises(CorruptError, match="at most 8 dimensions") as caught:
            look(path, tmp_path / "out.mct")
        assert caught.value.reason == "source_invalid"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["src"]


# --- folders ------------------------------------------------------------------------------------------------


def test_folder_with_a_folder_called_like_a_file_is_refused(tmp_path: Path) -> None:
    """A directory named replay_buffer_0.pt is no buffer, and nothing else is here."""
    (tmp_path / "src" / "replay_buffer_0.pt").mkdir(parents=True)
    refused(tmp_path / "src", "nothing_to_convert")


def test_named_pipe_does_not_hang(tmp_path: Path) -> None:
    """A pipe in place of a file is refused; opening it would wait for ever."""
    (tmp_path / "src").mkdir()
    os.mkfifo(tmp_path / "src" / "replay_buffer_0.pt")
    refused(tmp_path / "src", "nothing_to_convert")
    refused(tmp_path / "src" / "replay_buffer_0.pt", "nothing_to_convert")


def test_linked_files_convert(tmp_path: Path) -> None:
    """Buffers are often links into a scratch disk."""
    real = save(tmp_path / "disk", [expert(0)])
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "replay_buffer_0.pt").symlink_to(real)
    destination, _ = run(tmp_path / "src")
    assert len(trajfmt.open(destination)) == 1


def test_source_path_that_is_not_utf8(tmp_path: Path) -> None:
    """A folder name in another encoding is no matter, but where torch has to open it: then it is said."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/src\xff"))
    save(tmp_path / "src", [expert(0)])
    os.rename(tmp_path / "src", folder)
    assert convert(folder, tmp_path / "out.mct") == 1
    with (folder / "replay_buffer_0.pt").open("rb") as file:
        buffer = torch.load(file)
    with (folder / "replay_buffer_0.pt").open("wb") as file:
        torch.save(buffer, file, _use_new_zipfile_serialization=False)
    with pytest.raises(UsageError, match="not UTF-8; rename it"):
        convert(folder, tmp_path / "legacy.mct")


def test_structurally_bad_trajectory_is_left_out(tmp_path: Path) -> None:
    """What is not a list of lists of tensors is one bad trajectory, not a bad file."""
    torch = pytest.importorskip("torch")
    good = [[torch.full((2,), float(t))] for t in range(3)]
    torch.save([good, "junk", [[]], [], [[1.0], [2.0]]], tmp_path / "replay_buffer_0.pt")
    events: list[Event] = []
    options = ConvertOptions(keep_going=True)
    assert convert(tmp_path, tmp_path / "o.mct", options, on_event=events.append) == 1
    left_out = [event.message for event in events if event.kind == "skipped"]
    assert [f"trajectory {number}: " in text for number, text in enumerate(left_out, 1)] == [True] * 4
    assert plan(tmp_path, None, options).trajectories == 1
