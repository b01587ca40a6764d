"""The MCT authors' pairs and dense buffers, made by a generator that restates their converter."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import trajfmt
from trajfmt import SourceError, UsageError
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert
from trajfmt.sources.discovery import open_source

torch = pytest.importorskip("torch")

from tests.foreign import mct_authors as theirs  # noqa: E402  # the generator needs torch


@pytest.fixture(scope="module")
def experts() -> list[list[list[list[Any]]]]:
    """Return two buffers, of three and of two experts."""
    made = [theirs.expert(seed) for seed in range(5)]
    return [made[:3], made[3:]]


def test_facts_come_from_the_folders(experts: Any, tmp_path: Path) -> None:
    """Data set and preprocessing, as for the buffers they lie beside."""
    theirs.write(tmp_path / "CIFAR10_NO_ZCA" / "ConvNet", experts, 2)
    convert(tmp_path / "CIFAR10_NO_ZCA" / "ConvNet", tmp_path / "out.mct")
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        about = bundle.manifest.provenance
        assert about.dataset == "CIFAR10"
        assert about.preprocessing is not None
        assert about.preprocessing.kind == "normalize"
        assert about.known_from["dataset"] == "path"
        assert about.recipe == {"codebase": "MCT"}
        assert about.timestep == trajfmt.TimestepUnit(kind="epoch")
        assert about.known_from["recipe"] == about.known_from["timestep"] == "layout"
        assert {Path(s.name).name for s in about.sources} == {
            f"{half}_buffer_{n}.pt" for half in ("waypoint", "step") for n in (0, 1)
        }


def test_tiny_imagenet_without_the_mark_is_whitened(experts: Any, tmp_path: Path) -> None:
    """This codebase gives it the mark too, unlike MTT; an ablation is written down."""
    theirs.write(tmp_path / "Tiny" / "ConvNetD4", experts, 2, "_proj")
    convert(tmp_path / "Tiny" / "ConvNetD4", tmp_path / "out.mct", ConvertOptions(model="ConvNetD1W4"))
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        about = bundle.manifest.provenance
        assert about.dataset == "Tiny"
        assert about.preprocessing == trajfmt.Preprocessing(kind="zca", eps=0.1)
        assert about.recipe == {"codebase": "MCT", "ablation": "proj"}


def test_one_file_stands_for_its_pair(experts: Any, tmp_path: Path) -> None:
    """Either half may be named."""
    infix = theirs.write(tmp_path, experts, 4)
    for number, half in enumerate(("waypoint", "step")):
        target = tmp_path / f"{number}.mct"
        assert convert(tmp_path / f"{half}_buffer{infix}_1.pt", target) == 2


@pytest.mark.parametrize(
    ("knots", "name", "reader"),
    [
        (3, "", "uses only the first 2, and no timestep after the last of these"),
        (2, "_ip3", "expects 3"),
    ],
)
def test_other_knots_than_the_names_say(
    experts: Any, tmp_path: Path, knots: int, name: str, reader: str
) -> None:
    """What the authors' reader makes of them is said, and all are used."""
    infix = theirs.write(tmp_path, experts, knots)
    for half in ("waypoint", "step"):
        for file in tmp_path.glob(f"{half}_buffer{infix}_*.pt"):
            file.rename(tmp_path / f"{half}_buffer{name}_{file.stem.rpartition('_')[2]}.pt")
    named = 3 if name else 2
    assert (
        f"the names say {named} knots, the files have {knots}: all are used. The authors' reader {reader}"
        in open_source(tmp_path).notices
    )


def test_original_buffers_come_first(experts: Any, tmp_path: Path) -> None:
    """Where they lie in the same folder they are taken; --from tells otherwise."""
    torch.save(experts[0], tmp_path / "replay_buffer_0.pt")
    theirs.write(tmp_path, experts[:1], 4)
    assert open_source(tmp_path).layout_name == "MTT buffer"
    assert open_source(tmp_path, layout="mct-authors").layout_name == "MCT authors' pairs, 4 knots"


def test_several_kinds_in_a_folder_are_told_apart(experts: Any, tmp_path: Path) -> None:
    """One line names them; links to one kind in a folder of their own convert."""
    for knots, ablation in ((2, ""), (4, ""), (2, "_proj")):
        theirs.write(tmp_path / "all", experts, knots, ablation)
    with pytest.raises(
        SourceError, match=r"several kinds .*waypoint_buffer_<n>.pt.*_ip4_<n>.pt.*_proj_"
    ) as e:
        convert(tmp_path / "all", tmp_path / "out.mct")
    assert "\n" not in str(e.value)
    (tmp_path / "one").mkdir()
    for name in os.listdir(tmp_path / "all"):
        if "_ip4_" in name:
            (tmp_path / "one" / name).symlink_to(tmp_path / "all" / name)
    assert convert(tmp_path / "one", tmp_path / "out.mct") == 5


@pytest.mark.parametrize("half", ["waypoint", "step"])
def test_a_missing_half_is_one_line(half: str, experts: Any, tmp_path: Path) -> None:
    """The file that is there, and the one that is missing; --keep-going converts the other pairs."""
    theirs.write(tmp_path / "in", experts, 4)
    (tmp_path / "in" / f"{half}_buffer_ip4_0.pt").unlink()
    with pytest.raises(SourceError) as error:
        convert(tmp_path / "in", tmp_path / "out.mct")
    assert error.value.reason == "unpaired_file"
    assert f"its other half {half}_buffer_ip4_0.pt is missing" in str(error.value)
    assert not any("the names say" in text for text in open_source(tmp_path / "in").notices)
    assert not (tmp_path / "out.mct").exists()
    assert convert(tmp_path / "in", tmp_path / "out.mct", ConvertOptions(keep_going=True)) == 2


def test_an_ablation_is_not_added_to_other_trajectories(experts: Any, tmp_path: Path) -> None:
    """A bundle has one recipe, by which its files are named when they go back."""
    theirs.write(tmp_path / "plain", experts[:1], 2)
    theirs.write(tmp_path / "uni", experts[1:], 2, "_uni")
    convert(tmp_path / "plain", tmp_path / "out.mct")
    with pytest.raises(UsageError, match="its ablation is none, the source's is uni"):
        convert(tmp_path / "uni", tmp_path / "out.mct", ConvertOptions(append=True))


def test_a_step_file_that_would_run_code_is_refused(experts: Any, tmp_path: Path) -> None:
    """As everywhere: the class is named, nothing is run."""

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    theirs.write(tmp_path / "in", experts[:1], 2)
    torch.save([Evil()], tmp_path / "in" / "step_buffer_0.pt")
    with pytest.raises(trajfmt.UnsafeError):
        convert(tmp_path / "in", tmp_path / "out.mct")
    assert not (tmp_path / "ran").exists()


def test_a_repeated_list_is_not_expanded(experts: Any, tmp_path: Path) -> None:
    """A step file whose segments are one list thousands of times over claims more than it holds."""
    theirs.write(tmp_path / "in", experts[:1], 2)
    row = [torch.tensor(0.5)] * 6
    torch.save([[row] * 100000] * 3, tmp_path / "in" / "step_buffer_0.pt")
    with pytest.raises(trajfmt.TrajfmtError) as error:
        convert(tmp_path / "in", tmp_path / "out.mct")
    assert "more often than its length allows" in str(error.value)


def test_the_unit_of_a_timestep_is_recorded_only_where_the_path_or_the_user_tells(tmp_path: Path) -> None:
    """Pairs can be made of trajectories whose timesteps are no epochs."""
    theirs.write(tmp_path / "in", [[theirs.expert(0, 9)]], 2)
    for name, layout in (("a.mct", None), ("b.mct", "mct-authors")):
        convert(tmp_path / "in", tmp_path / name, ConvertOptions(layout=layout))
        with trajfmt.open(tmp_path / name) as bundle:
            about = bundle.manifest.provenance
            assert (about.timestep is None) == ("timestep" not in about.known_from) == (layout is None)
            assert about.recipe == {"codebase": "MCT"}
