"""One run as a trajectory: what its checkpoints share, and what they carry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import trajfmt  # noqa: E402
from tests.foreign import checkpoints as foreign  # noqa: E402
from tests.helpers.runs import BUFFERS, names_of, opened, refused  # noqa: E402
from trajfmt.convert.options import ConvertOptions  # noqa: E402
from trajfmt.convert.run import convert  # noqa: E402
from trajfmt.errors import SourceError  # noqa: E402


def test_tied_weights_are_stored_once_more(tmp_path: Path) -> None:
    """Two names of one memory are both kept, and said to be one."""
    tied = {t: torch.randn(3, 2, generator=torch.Generator().manual_seed(t)) for t in range(2)}
    folder = foreign.plain(
        tmp_path / "run", {t: {"embed.weight": x, "head.weight": x} for t, x in tied.items()}
    )
    collection, (trajectory,) = opened(folder)
    assert names_of(collection) == ["embed.weight", "head.weight"]
    np.testing.assert_array_equal(trajectory.read(1, 0), trajectory.read(1, 1))
    assert [n for n in collection.notices if "`head.weight` shares its memory with `embed.weight`" in n]


@pytest.mark.parametrize("steps", [(500, 1000, 1500), (500, 1000, 1700), (7, 8, 9)])
def test_real_steps_are_kept_in_the_bundle(tmp_path: Path, trained: Any, steps: tuple[int, ...]) -> None:
    """Every timestep has the number of its checkpoint, also in a window, and so has what is exported."""
    folder = foreign.plain(tmp_path / "run", dict(zip(steps, trained[0], strict=False)))
    for number, window in enumerate([(None, None), (1, None)]):
        path = tmp_path / f"{number}.mct"
        convert(folder, path, ConvertOptions(timesteps=window))
        with trajfmt.open(path) as bundle:
            about, found = bundle.manifest.provenance, bundle[0].numbers
            first = about.first_timestep or 0
            told = [(first + t) * about.timestep.every for t in range(bundle[0].timesteps)]
            assert tuple(found or told) == steps[slice(*window)]


def test_buffers_are_interpolated_when_asked(tmp_path: Path, trained: Any) -> None:
    """Float buffers become parameters after the others; counters stay buffers."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])))
    collection, (trajectory,) = opened(folder, buffers="interpolate")
    assert names_of(collection)[-2:] == ["1.running_mean", "1.running_var"]
    assert list(trajectory.buffers(1)) == ["1.num_batches_tracked"]
    np.testing.assert_array_equal(trajectory.read(2, 7), trained[0][2]["1.running_var"].numpy())


def test_buffers_are_carried_into_the_bundle(tmp_path: Path, trained: Any) -> None:
    """At a real t they are those of the last stored timestep before it, in their own types."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])))
    convert(folder, tmp_path / "out.mct", ConvertOptions(knots=(2,)))
    convert(folder, tmp_path / "out.mtt")
    for name, place in (("out.mct", {0.0: 0, 1.5: 0, 2.0: 2, 2.9: 2, 3.0: 3}), ("out.mtt", {1: 1, 3: 3})):
        with trajfmt.open(tmp_path / name) as bundle:
            for t, expected in place.items():
                found = bundle[0].buffers(t)
                assert sorted(found) == sorted(BUFFERS)
                for buffer in BUFFERS:
                    assert found[buffer].dtype == trained[0][0][buffer].numpy().dtype
                    np.testing.assert_array_equal(found[buffer], trained[0][expected][buffer].numpy())


@pytest.mark.parametrize("mode", ["drop", "interpolate"])
def test_buffers_are_no_part_of_the_bundle_when_told(tmp_path: Path, trained: Any, mode: Any) -> None:
    """Dropped they are gone; interpolated the floats among them are weights."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])))
    convert(folder, tmp_path / "out.mct", ConvertOptions(buffers=mode))
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        assert len(bundle.layout.parameters) == (6 if mode == "drop" else 8)
        assert list(bundle[0].buffers(0)) == ([] if mode == "drop" else ["1.num_batches_tracked"])


def test_buffers_are_dropped_when_asked(tmp_path: Path, trained: Any) -> None:
    """Then nothing is carried, and the remark says so."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])))
    collection, (trajectory,) = opened(folder, buffers="drop")
    assert trajectory.buffers(1) == {}
    assert "3 module buffers (such as `1.running_mean`) are dropped" in collection.notices
    assert not any("kept" in text for text in collection.notices)


@pytest.mark.parametrize("number", [0, 3])
def test_buffers_that_not_all_checkpoints_have(tmp_path: Path, trained: Any, number: int) -> None:
    """They are not dropped without a word, whether the first lacks them or the last."""
    states = dict(enumerate(trained[0]))
    states[number] = {name: value for name, value in states[number].items() if name not in BUFFERS}
    folder = foreign.plain(tmp_path / "run", states)
    assert "and not in all checkpoints; --buffers drop" in refused(folder, "mixed_architectures")


@pytest.mark.parametrize(
    ("name", "dtype", "match"),
    [
        ("x.running_var", torch.complex128, "is complex128: a module buffer of this type cannot be stored"),
        ("x.weight", torch.complex64, "is C64: weights must be one of"),
        ("x.table", torch.complex128, "is complex128: weights must be one of"),
        ("x.weight", torch.float8_e4m3fn, "is F8_E4M3: weights must be one of"),
    ],
)
def test_types_that_have_no_place_are_named(
    tmp_path: Path, trained: Any, name: str, dtype: torch.dtype, match: str
) -> None:
    """Nothing is cast without a word, with `--dtype` neither; dropped buffers may be of any type."""
    states = [state | {name: torch.ones(2).to(dtype)} for state in trained[0]]
    folder = foreign.plain(tmp_path / "run", dict(enumerate(states)))
    assert match in refused(folder, "mixed_dtypes", dtype="F32")
    if "running" in name:
        convert(folder, tmp_path / "out.mct", ConvertOptions(buffers="drop"))


def test_two_models_in_one_folder(tmp_path: Path, trained: Any) -> None:
    """The line names both files and the first tensor that differs."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0][:2])), "net_{}.pt")
    other = {name: value for name, value in trained[0][2].items() if name != "4.bias"}
    foreign.plain(folder, {2: other}, "net_{}.pt")
    line = refused(folder, "mixed_architectures")
    assert "net_0.pt" in line
    assert "net_2.pt" in line
    assert "`4.bias` is missing here, and (3,) in" in line


def test_two_models_with_the_same_numbers(tmp_path: Path, trained: Any) -> None:
    """They are two models, and neither is chosen."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0][:2])), "gen_{}.pt")
    foreign.plain(folder, {t: {"w": torch.randn(2)} for t in range(2)}, "disc_{}.pt")
    assert "named in different ways" in refused(folder, "nothing_to_convert")


def test_mixed_dtypes_point_to_the_option(tmp_path: Path, trained: Any) -> None:
    """Both dtypes are named with a tensor of each."""
    mixed = [state | {"4.bias": state["4.bias"].half()} for state in trained[0]]
    folder = foreign.plain(tmp_path / "run", dict(enumerate(mixed)))
    line = refused(folder, "mixed_dtypes")
    assert "F16: `4.bias` of step=0.pt; F32: `0.weight` of step=0.pt" in line
    assert "--dtype" in line


def test_mixed_dtypes_convert_to_one(tmp_path: Path, trained: Any) -> None:
    """With --dtype every weight is stored in it."""
    mixed = [state | {"4.bias": state["4.bias"].half()} for state in trained[0]]
    folder = foreign.plain(tmp_path / "run", dict(enumerate(mixed)))
    convert(folder, tmp_path / "out.mct", ConvertOptions(dtype="F32"))
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        weights = bundle.layout.split(bundle[0].at(3))
        np.testing.assert_array_equal(weights["4.bias"], mixed[3]["4.bias"].float().numpy())
        np.testing.assert_array_equal(weights["4.weight"], mixed[3]["4.weight"].numpy())


def test_a_folder_with_one_checkpoint_shows_the_option(tmp_path: Path, trained: Any) -> None:
    """If the folders are the steps, the line says how to say so; if they have no number, it does not."""
    for number in range(2):
        foreign.plain(tmp_path / f"run/z{number}", {100: trained[0][number]})
    assert "found 1 in this folder: step=100.pt; if the folders are the steps, say so: --select " in (
        line := refused(tmp_path / "run", "too_few_timesteps")
    )
    assert line.partition("--select '")[2].partition("'")[0] == "z{step}/step=100.pt"
    assert opened(tmp_path / "run", select="z{step}/step=100.pt")[1][0].numbers == (0, 1)
    alone = foreign.plain(tmp_path / "alone", {100: trained[0][0]})
    assert "--select" not in refused(alone, "too_few_timesteps")


@pytest.mark.parametrize("window", [(None, None), (1, None)])
@pytest.mark.parametrize("ending", ["mtt", "mct"])
def test_the_file_of_the_timestep_is_named(tmp_path: Path, trained: Any, window: Any, ending: str) -> None:
    """Weights that are not finite are in one file, and the line names no other."""
    states = dict(enumerate(trained[0]))
    states[2] = {name: value + torch.nan if "weight" in name else value for name, value in states[2].items()}
    folder = foreign.plain(tmp_path / "run", states)
    with pytest.raises(SourceError, match=r"step=2\.pt: .*timestep 2, parameter `0.weight`"):
        convert(folder, tmp_path / f"out.{ending}", ConvertOptions(timesteps=window))


def test_a_module_buffer_of_another_shape_is_named_with_its_file(tmp_path: Path, trained: Any) -> None:
    """And so is one of another type."""
    for change in (lambda value: value[:2], lambda value: value.double()):
        states = dict(enumerate(trained[0]))
        states[2] = {**states[2], "1.running_mean": change(states[2]["1.running_mean"])}
        folder = foreign.plain(tmp_path / "run", states)
        line = refused(folder, "mixed_architectures")
        assert "step=2.pt: " in line
        assert "`1.running_mean`" in line
        assert opened(folder, buffers="drop")[1][0].timesteps == 4


@pytest.mark.parametrize(
    ("write", "options"),
    [(foreign.tensors, {}), (foreign.huggingface, {}), (foreign.huggingface, {"shards": 2})],
)
def test_copies_of_earlier_checkpoints_are_named(
    tmp_path: Path, trained: Any, write: Any, options: Any
) -> None:
    """A failed save may leave the last file once more. Equal shards alone, such as frozen ones, are none."""
    states = {t: foreign.json_free(trained[0][t if t < 2 else 1]) for t in range(4)}
    states[3]["4.weight"] += 1
    folder = write(tmp_path / "run", states, **options)
    told: list[str] = []
    convert(folder, tmp_path / "out.mtt", on_event=lambda event: told.append(event.message))
    (text,) = [text for text in told if "byte for byte" in text]
    one, two = sorted(path.name for path in folder.iterdir())[1:3]
    assert text.endswith(f"which may be failed saves: {two} of {one}")
