"""MTT's layout and its traps: what is refused, why, and that nothing is left at the destination."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import resource
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trajfmt
from trajfmt.bundle.validation import validate
from trajfmt.convert.events import Event
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.planning import plan
from trajfmt.convert.run import convert
from trajfmt.errors import CorruptError, FormatError, SourceError, TrajfmtError, UnsafeError, UsageError

torch = pytest.importorskip("torch")

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


# --- the traps of MTT's own scripts ---------------------------------------------------------------------


def trained_on_cpu() -> list[list[Any]]:
    """Collect timesteps while training, by the very line of MTT's buffer.py: `p.detach().cpu()`."""
    net = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    steps = [[p.detach().cpu() for p in net.parameters()]]
    generator = torch.Generator().manual_seed(1)
    for _ in range(4):
        optimizer.zero_grad()
        net(torch.randn(8, 3, generator=generator)).square().mean().backward()
        optimizer.step()
        steps.append([p.detach().cpu() for p in net.parameters()])
    return steps


@pytest.mark.parametrize("suffix", [".mct", ".mtt"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_timesteps_aliased_by_a_cpu_run_are_refused(tmp_path: Path, suffix: str, zipped: bool) -> None:
    """MTT's own loop on a CPU saves the last weights 51 times: refused, with what to do instead."""
    path = save(tmp_path / "src", [trained_on_cpu()], _use_new_zipfile_serialization=zipped)
    error = refused(path.parent, "aliased_timesteps", suffix)
    assert "trajectory 0" in str(error)
    assert "clone()" in str(error)
    assert error.exit_code == 1
    assert [p.name for p in tmp_path.iterdir()] == ["src"]


def test_aliased_trajectory_is_left_out_on_demand(tmp_path: Path) -> None:
    """With `keep_going` the other trajectories are converted, and the omission is told."""
    path = save(tmp_path / "src", [trained_on_cpu(), good := expert(1, shapes=((2, 3), (2,)))])
    destination, events = run(path.parent, keep_going=True)
    assert len(messages(events, "skipped")) == 1
    with trajfmt.open(destination) as bundle:
        assert len(bundle) == 1
        assert np.array_equal(bundle[0].knot(0), stack(good)[0])


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


def test_timesteps_of_different_shapes_are_refused(tmp_path: Path) -> None:
    """A timestep that lost a tensor is found before any weight is read."""
    bad = expert(0)
    bad[3] = bad[3][:2]
    assert "timestep 3" in str(refused(save(tmp_path / "src", [bad]).parent, "mixed_architectures"))


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


def test_checkpoint_beside_a_buffer_is_reported(tmp_path: Path) -> None:
    """EDF's checkpoint.pt may hold experts that are in no buffer; that is told."""
    save(tmp_path / "src", [expert(0)])
    (tmp_path / "src" / "checkpoint.pt").write_bytes(b"not looked at")
    _, events = run(tmp_path / "src")
    assert any("checkpoint.pt" in text for text in messages(events, "notice"))


def test_duplicate_within_a_file_is_refused(tmp_path: Path) -> None:
    """The same trajectory twice in a file is refused, naming its twin."""
    copy = [[x.clone() for x in step] for step in expert(0)]
    error = refused(save(tmp_path / "src", [expert(0), expert(1), copy]).parent, "duplicate_trajectory")
    assert "trajectory 2" in str(error)
    assert "number 0" in str(error)


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
    "content", [[[]], [[[]]], [[[], []]]], ids=["no timesteps", "one, no tensors", "no tensors"]
)
@pytest.mark.parametrize("suffix", [".mct", ".mtt"])
def test_empty_trajectory_is_refused_in_one_line(tmp_path: Path, content: Any, suffix: str) -> None:
    """A trajectory without timesteps or tensors is a clear error of exit code 1 or 4."""
    path = save(tmp_path / "src", content)
    with pytest.raises((SourceError, CorruptError)):
        convert(path, tmp_path / f"out{suffix}")
    assert [p.name for p in tmp_path.iterdir()] == ["src"]


def test_trajectory_without_timesteps_has_too_few(tmp_path: Path) -> None:
    """No timestep is fewer than two, not a mix of types."""
    refused(save(tmp_path / "src", [[]]), "too_few_timesteps")


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


def test_parameters_instead_of_tensors_convert(tmp_path: Path) -> None:
    """`nn.Parameter` comes back with requires_grad; its values are all that matters."""
    content = [[[torch.nn.Parameter(x) for x in step] for step in expert(0)]]
    destination, _ = run(save(tmp_path / "src", content).parent, ".mtt")
    with trajfmt.open(destination) as bundle:
        assert np.array_equal(np.stack(list(bundle[0].rows())), stack(expert(0)))


def test_tuples_instead_of_lists_convert(tmp_path: Path) -> None:
    """Nesting by tuples is as good as by lists."""
    content = tuple(tuple(tuple(step) for step in expert(seed)) for seed in range(2))
    assert len(trajfmt.open(run(save(tmp_path / "src", content).parent)[0])) == 2


@pytest.mark.parametrize("suffix", [".mct", ".mtt"])
def test_strided_tensors_are_read_in_logical_order(tmp_path: Path, suffix: str) -> None:
    """Channels-last and transposed tensors give the elements that `reshape(-1)` gives, not memory order."""
    content = [
        [
            torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(t)).to(
                memory_format=torch.channels_last
            ),
            torch.randn(6, 4, generator=torch.Generator().manual_seed(90 + t)).t(),
        ]
        for t in range(3)
    ]
    destination, _ = run(save(tmp_path / "src", [content]).parent, suffix)
    expected = np.stack([np.concatenate([x.reshape(-1).numpy() for x in step]) for step in content])
    with trajfmt.open(destination) as bundle:
        assert np.array_equal(bundle[0].at(0), expected[0])
        assert np.array_equal(bundle[0].at(2), expected[2])


def test_views_of_one_storage_are_no_aliases(tmp_path: Path) -> None:
    """All timesteps as views of one big tensor share a storage at other offsets: legal, values exact."""
    theta = torch.randn(5, 20, generator=torch.Generator().manual_seed(3))
    content = [[[row[:12].view(4, 3), row[12:16], row[16:].view(2, 2)] for row in theta]]
    destination, _ = run(save(tmp_path / "src", content).parent, ".mtt")
    with trajfmt.open(destination) as bundle:
        assert np.array_equal(np.stack(list(bundle[0].rows())), theta.numpy())


@pytest.mark.parametrize("name", ["float16", "float64"])
@pytest.mark.parametrize("suffix", [".mct", ".mtt"])
def test_other_precisions_keep_their_bits(tmp_path: Path, name: str, suffix: str) -> None:
    """float16 and float64 buffers stay what they are."""
    content = expert(0, dtype=getattr(torch, name))
    destination, _ = run(save(tmp_path / "src", [content]).parent, suffix)
    with trajfmt.open(destination) as bundle:
        assert bundle[0].at(4).dtype == np.dtype(name)
        assert np.array_equal(bundle[0].at(4), stack(content)[-1])


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda x, i: x.half() if i else x, id="mixed in a timestep"),
        pytest.param(lambda x, _i: x.to(torch.int64), id="integers"),
        pytest.param(lambda x, _i: x.to(torch.complex64), id="complex"),
        pytest.param(lambda x, _i: x > 0, id="booleans"),
    ],
)
def test_unsupported_types_are_refused_by_name(tmp_path: Path, make: Callable[[Any, int], Any]) -> None:
    """Types that the format lacks, and mixtures, are refused, naming what was found."""
    content = [[[make(x, i) for i, x in enumerate(step)] for step in expert(0)]]
    kind = str(content[0][0][0].dtype).removeprefix("torch.")
    assert kind in str(refused(save(tmp_path / "src", content), "mixed_dtypes"))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_half_precision_arrives_bit_for_bit(tmp_path: Path, kind: str, zipped: bool) -> None:
    """16-bit weights keep their type and their bits, whether torch reads the file or not."""
    content = [expert(0, dtype=getattr(torch, kind))]
    path = save(tmp_path / "src", content, _use_new_zipfile_serialization=zipped)
    destination, _ = run(path.parent, ".mtt")
    with trajfmt.open(destination) as bundle:
        for t, step in enumerate(content[0]):
            found = np.ascontiguousarray(bundle[0].at(t)).view(np.int16)
            assert np.array_equal(found, torch.cat([x.reshape(-1) for x in step]).view(torch.int16).numpy())


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


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda x: x.to_sparse(), "must be a plain tensor, got sparse_coo", id="sparse"),
        pytest.param(
            lambda x: torch.complex(x, x).conj().imag, "got a lazily negated or conjugated view", id="negated"
        ),
    ],
)
def test_exotic_tensors_are_refused(tmp_path: Path, make: Callable[[Any], Any], words: str) -> None:
    """Tensors without a plain storage give an error of ours, never torch's."""
    path = save(tmp_path / "src", [[[make(x) for x in step] for step in expert(0)]])
    assert words in str(refused(path, "source_invalid"))


def test_a_small_file_cannot_stand_for_terabytes(tmp_path: Path) -> None:
    """A weight tensor must have the bytes that its shape says; an expanded one amplifies without limit."""
    content = [[[torch.full((1,), float(t)).expand(2**41)] for t in range(3)]]
    path = save(tmp_path / "src", content)
    assert "claims 2199023255552 elements" in str(refused(path, "source_invalid"))
    with pytest.raises(CorruptError, match="claims 2199023255552 elements"):
        plan(path, tmp_path / "out.mct")


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
    [
        (".mct", "none"),
        pytest.param(
            ".mtt",
            "none",
        ),
        pytest.param(
            ".mtt",
            "zstd",
        ),
    ],
)
def test_network_without_elements_is_refused(tmp_path: Path, suffix: str, codec: str) -> None:
    """A network of nothing but empty tensors is an error of ours."""
    path = save(tmp_path / "src", [expert(0, shapes=((0,), (2, 0)))])
    with pytest.raises(TrajfmtError):
        convert(path, tmp_path / f"out{suffix}", ConvertOptions(codec=codec))
    assert not (tmp_path / f"out{suffix}").exists()


def test_too_many_dimensions_are_refused_before_the_work(tmp_path: Path) -> None:
    """A shape that the format cannot hold is a matter of the source, told by plan and conversion alike."""
    path = save(tmp_path / "src", [expert(0, shapes=((1,) * 9,))])
    for look in (convert, plan):
        with pytest.raises(CorruptError, match="at most 8 dimensions") as caught:
            look(path, tmp_path / "out.mct")
        assert caught.value.reason == "source_invalid"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["src"]


# --- what nests wrongly -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        pytest.param({"a": 1}, id="dictionary"),
        pytest.param([[[1.0, 2.0], [3.0, 4.0]]], id="numbers"),
        pytest.param([[{"w": torch.ones(2)}, {"w": torch.zeros(2)}]], id="state_dicts"),
        pytest.param(torch.ones(2, 2, 2), id="tensor"),
        pytest.param([torch.ones(2), torch.zeros(2)], id="list of tensors"),
        pytest.param([[torch.ones(2), torch.zeros(2)]], id="one level less"),
        pytest.param([[[[torch.ones(2)]], [[torch.zeros(2)]]]], id="one level more"),
        pytest.param(["ab", "cd"], id="strings"),
        pytest.param(None, id="nothing"),
        pytest.param(3, id="number"),
        pytest.param([None], id="list of nothing"),
    ],
)
def test_wrong_nesting_is_refused(tmp_path: Path, content: Any) -> None:
    """What torch loads but is no buffer is told as such, not crashed on."""
    assert refused(save(tmp_path / "src", content), "source_invalid").exit_code == 4


# --- pickles ------------------------------------------------------------------------------------------------


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_code_in_a_pickle_does_not_run(tmp_path: Path, zipped: bool) -> None:
    """A pickle that would create a file is refused as unsafe, and the file does not appear."""
    trap = tmp_path / "trap"
    path = save(
        tmp_path / "src", [expert(0), Touch(trap)], _use_new_zipfile_serialization=zipped, pickle_protocol=2
    )
    error = refused(path, "pickle_unsafe")
    assert isinstance(error, UnsafeError)
    assert error.exit_code == 5
    assert "--trust-pickle" in str(error)
    with pytest.raises(UnsafeError):
        plan(path, tmp_path / "out.mct")
    refused(path, "pickle_unsafe", keep_going=True)
    assert not trap.exists()


def test_unknown_global_is_named(tmp_path: Path) -> None:
    """What `weights_only` refuses is named, so that a user can judge it."""
    path = save(tmp_path / "src", [expert(0), np.float64])
    assert "float64" in str(refused(path, "pickle_unsafe"))


def test_numpy_arrays_are_refused_without_and_with_trust(tmp_path: Path) -> None:
    """Arrays in place of tensors: unsafe first, and with trust a clear word about what they are."""
    path = save(tmp_path / "src", [[[np.ones(3)], [np.zeros(3)]]])
    assert "numpy" in str(refused(path, "pickle_unsafe"))
    refused(path, "source_invalid", trust_pickle=True)


class Wrapped:
    """Stands for a list that an unknown class restores."""

    def __init__(self, content: Any) -> None:
        self.content = content

    def __reduce__(self) -> tuple[Any, ...]:
        return (list.copy, (self.content,))


def test_trusted_pickle_with_a_call_converts(tmp_path: Path) -> None:
    """A pickle that calls a function gives, once trusted, the weights that it stands for."""
    path = save(tmp_path / "src", Wrapped([expert(0)]))
    refused(path, "pickle_unsafe")
    destination, _ = run(path, trust_pickle=True)
    assert np.array_equal(trajfmt.open(destination)[0].at(4), stack(expert(0))[4])


@pytest.mark.parametrize("suffix", [".mct", ".mtt"])
def test_legacy_pickle_gives_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    """The old file format differs in nothing but the provenance."""
    content = [expert(0), expert(1)]
    outputs = []
    for name, zipped in (("new", True), ("old", False)):
        (tmp_path / name).mkdir()
        source = save(tmp_path / name / "src", content, _use_new_zipfile_serialization=zipped)
        destination, _ = run(source.parent, suffix)
        files = sorted(p for p in destination.rglob("*") if p.is_file() and p.name != "manifest.json")
        outputs.append({p.relative_to(destination).as_posix(): p.read_bytes() for p in files})
    assert outputs[0] == outputs[1]
    assert outputs[0]


# --- damaged files ------------------------------------------------------------------------------------------


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


def test_cut_zip_is_refused_at_every_offset(tmp_path: Path) -> None:
    """A zip cut anywhere, from nothing to the last byte, is truncated or invalid: exit 4."""
    data, path = packed(True), tmp_path / "cut.pt"
    cuts = sorted({0, 1, 3, 4, 5, len(data) // 2, len(data) - 1, *range(0, len(data), 61)})
    found = {cut: outcome(path, data[:cut]) for cut in cuts}
    assert set(found.values()) <= {"source_truncated", "source_invalid"}, found
    assert found[0] == found[4] == found[len(data) - 1] == "source_truncated"


def test_cut_legacy_pickle_is_refused_at_every_offset(tmp_path: Path) -> None:
    """A legacy file cut at any byte gives an error of ours."""
    data, path = packed(False), tmp_path / "cut.pt"
    found = {cut: outcome(path, data[:cut]) for cut in range(len(data))}
    assert "fine" not in found.values()


def test_legacy_pickle_cut_in_its_weights_is_refused(tmp_path: Path) -> None:
    """The usual truncation, in the middle of the weights, is told as damage (exit 4)."""
    data, path = packed(False), tmp_path / "cut.pt"
    for cut in range(len(data) - 150, len(data), 7):
        assert outcome(path, data[:cut]) in ("source_truncated", "source_invalid")


def test_flipped_bytes_never_crash(tmp_path: Path) -> None:
    """Random damage to the pickle inside a zip is refused or harmless, never an error of torch's."""
    data, path, generator = packed(True), tmp_path / "flip.pt", np.random.default_rng(5)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in parts if name.endswith("data.pkl"))
    found: Counter[str] = Counter()
    for _ in range(150):
        damaged = bytearray(parts[name])
        for _ in range(int(generator.integers(1, 4))):
            damaged[generator.integers(len(damaged))] = generator.integers(256)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for member, content in parts.items():
                archive.writestr(member, bytes(damaged) if member == name else content)
        with contextlib.suppress(Warning):  # torch remarks on odd pickles, which pytest turns into an error
            found[outcome(path, buffer.getvalue())] += 1
    assert found.keys() == {"fine", "source_invalid", "pickle_unsafe"}
    assert found["source_invalid"] > 75


def test_zip_that_claims_several_disks_is_refused(tmp_path: Path) -> None:
    """One byte changed in the zip's end locator is damage, not a traceback."""
    data = bytearray(packed(True))
    locator = data.rfind(b"PK\x06\x07")
    if locator < 0:  # a zip without ZIP64 records: add a locator that claims two disks
        end = data.rfind(b"PK\x05\x06")
        data[end:end] = b"PK\x06\x07" + bytes(4) + end.to_bytes(8, "little") + (2).to_bytes(4, "little")
    else:
        data[locator + 16 : locator + 20] = (2).to_bytes(4, "little")
    assert outcome(tmp_path / "disks.pt", bytes(data)) in ("source_truncated", "source_invalid")


@pytest.mark.parametrize(
    "data",
    [b"hello, I am text\n", b"\x80", b"\x00" * 64, b"PK", b"\x1f\x8b\x08\x00", b"\x93NUMPY\x01\x00"],
    ids=["text", "one byte", "zeros", "PK", "gzip", "npy"],
)
def test_file_of_another_kind_is_refused(tmp_path: Path, data: bytes) -> None:
    """Whatever is called .pt without being torch's is told so: exit 4."""
    path = tmp_path / "replay_buffer_0.pt"
    path.write_bytes(data)
    assert isinstance(refused(path, "source_invalid"), CorruptError)


def test_zip_of_another_program_is_refused(tmp_path: Path) -> None:
    """A zip without torch's records is damage or another format: exit 4."""
    path = tmp_path / "replay_buffer_0.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused(path, "source_invalid")


@pytest.mark.parametrize("shapes", [((1,), (1,)), ((40, 30), (40,))], ids=["smaller", "larger"])
def test_compressed_zip_is_refused(tmp_path: Path, shapes: Any) -> None:
    """Somebody's zip of an unpacked buffer: mapped, torch would take compressed bytes for small weights."""
    path, again = save(tmp_path, [expert(0, shapes=shapes)]), tmp_path / "again"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(again, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    again.rename(path)
    assert "compressed" in str(refused(path, "source_invalid"))


def test_plain_pickle_is_refused(tmp_path: Path) -> None:
    """`pickle.dump` in place of `torch.save` is refused without running it."""
    path = tmp_path / "replay_buffer_0.pt"
    path.write_bytes(pickle.dumps([Touch(tmp_path / "trap")], protocol=2))
    with pytest.raises(FormatError) as caught:
        convert(path, tmp_path / "out.mct")
    assert caught.value.exit_code in (4, 5)
    assert [p.name for p in tmp_path.iterdir()] == ["replay_buffer_0.pt"]


# --- folders ------------------------------------------------------------------------------------------------


def test_folder_with_a_folder_called_like_a_file_is_refused(tmp_path: Path) -> None:
    """A directory named replay_buffer_0.pt is no buffer, and nothing else is here."""
    (tmp_path / "src" / "replay_buffer_0.pt").mkdir(parents=True)
    refused(tmp_path / "src", "nothing_to_convert")


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    """The message of an empty folder names both layouts."""
    (tmp_path / "src").mkdir()
    assert "replay_buffer" in str(refused(tmp_path / "src", "nothing_to_convert"))


def test_the_only_folder_with_trajectories_is_taken(tmp_path: Path) -> None:
    """What `--buffer_path` was called is enough: data set and network lie two folders below."""
    save(tmp_path / "buffers" / "CIFAR10_NO_ZCA" / "ConvNet", [expert(0), expert(1)])
    (tmp_path / "buffers" / "CIFAR10_NO_ZCA" / "logs" / "old").mkdir(parents=True)
    told = []
    convert(
        tmp_path / "buffers",
        tmp_path / "out.mct",
        on_event=lambda event: told.append(event.message),
    )
    assert any("in CIFAR10_NO_ZCA/ConvNet, the only such folder" in text for text in told)
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        assert (len(bundle), bundle.manifest.provenance.dataset) == (2, "CIFAR10")


def test_one_of_several_folders_is_asked_for(tmp_path: Path) -> None:
    """Nothing is chosen between two networks' trajectories; the message names both."""
    for model in ("ConvNet", "AlexNet"):
        save(tmp_path / "buffers" / "CIFAR10" / model, [expert(0)])
    message = str(refused(tmp_path / "buffers", "nothing_to_convert"))
    assert "CIFAR10/AlexNet, CIFAR10/ConvNet" in message


def test_too_many_folders_are_not_searched(tmp_path: Path) -> None:
    """Where not all folders were looked at, the one with trajectories may not be the only one."""
    save(tmp_path / "buffers" / "000" / "ConvNet", [expert(0)])
    for number in range(1, 70):
        (tmp_path / "buffers" / f"{number:03d}").mkdir()
    message = str(refused(tmp_path / "buffers", "nothing_to_convert"))
    assert "give one of the folders that have them: 000/ConvNet" in message
    save(tmp_path / "wide" / "999" / "ConvNet", [expert(0)])
    for number in range(69):
        (tmp_path / "wide" / f"{number:03d}").mkdir()
    assert "only 64 folders" in str(refused(tmp_path / "wide", "nothing_to_convert"))


@pytest.mark.parametrize("names", [["ckpts/model_0.pt", "ckpts/model_1.pt"], ["teacher.pt"]])
def test_buffers_and_checkpoints_below_one_folder(tmp_path: Path, names: list[str]) -> None:
    """Neither is taken for the other's sake: the message names both."""
    for name in names:
        (tmp_path / "both" / name).parent.mkdir(parents=True, exist_ok=True)
        torch.save({"weight": torch.randn(3)}, tmp_path / "both" / name)
    save(tmp_path / "both" / "CIFAR10" / "ConvNet", [expert(0)])
    message = str(refused(tmp_path / "both", "nothing_to_convert"))
    assert Path(names[0]).name in message
    assert "CIFAR10/ConvNet" in message


def test_missing_source_is_a_usage_error(tmp_path: Path) -> None:
    """A path that does not exist is exit 2, not corrupt."""
    with pytest.raises(trajfmt.MissingError):
        convert(tmp_path / "nowhere", tmp_path / "out.mct")


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
