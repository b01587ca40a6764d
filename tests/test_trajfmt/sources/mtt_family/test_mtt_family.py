"""Every layout of MTT's family, on files that follow its writer, bit for bit."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import trajfmt
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.planning import plan
from trajfmt.convert.run import convert
from trajfmt.errors import CorruptError, SourceError
from trajfmt.sources import mtt_family
from trajfmt.sources.discovery import open_source

torch = pytest.importorskip("torch")

from tests.foreign import family  # noqa: E402  # the generators need torch
from tests.foreign.checking import rows, run, same, told  # noqa: E402

EPOCH = {"kind": "epoch"}
NAMES = ["features.0.weight", "features.0.bias", "features.1.weight", "features.1.bias"]


@dataclass
class Case:
    """A layout, what is to be found out about its files, and from where."""

    name: str
    write: Callable[[Path], family.Written]
    dataset: str | None
    preprocessing: str | None
    recipe: dict[str, Any] | None
    """When it is recognised by looking; None for what nobody can tell from MTT's."""

    model: dict[str, Any] = field(default_factory=dict)
    every: int = 1
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.write.__name__


CASES = [
    Case("mtt", family.mtt, "CIFAR10", "normalize", None, {"norm": "instance"}),
    Case("mtt", family.mtt_imagenet, "ImageNet/imagenette", None, None),
    Case("tesla", family.tesla, "CIFAR100", "zca", None),
    Case("tesla", family.tesla_imagenet, "ImageNet", None, None),
    Case("ftd", family.ftd, "CIFAR100", "zca", None),
    Case("datm", family.datm, "Tiny", None, None),
    Case("pad", family.pad, "CIFAR10", "zca", None),
    Case("edf", family.edf, "CIFAR10", "zca", {"codebase": "EDF"}),
    Case("att", family.att, "CIFAR10", "zca", None),
    Case("haba", family.haba, "CIFAR10", "normalize", None),
    Case("selmatch", family.selmatch, "CIFAR100", "normalize", None, {"norm": "batch"}),
    Case("fyi", family.fyi, "ImageNet/imagewoof", None, None),
    Case(
        "seqmatch",
        family.seqmatch,
        "CIFAR10",
        "normalize",
        {"codebase": "SeqMatch", "run": "run7", "after_subset": "S_1"},
    ),
    Case(
        "seqmatch",
        family.seqmatch_imagenet,
        "ImageNet/imagenette",
        None,
        {"codebase": "SeqMatch", "run": "run7", "after_subset": "S_0"},
    ),
    Case(
        "glad",
        family.glad,
        "CIFAR10",
        None,
        {"codebase": "GLaD", "tanh": False},
        {"norm": "batch", "depth": 1, "width": 8},
    ),
    Case(
        "glad", family.glad_tanh, "imagenet-b", None, {"codebase": "GLaD", "tanh": True}, {"norm": "instance"}
    ),
    Case("mkdt", family.mkdt, "CIFAR100", "normalize", {"codebase": "MKDT", "run": "run-3"}),
    Case("nodistill", family.nodistill, "Tiny/imagenette", None, None),
    Case("ltdd", family.ltdd, None, None, None),
    Case("ltdd", family.ltdd_first, None, None, {"codebase": "LTDD"}),
    Case("videodd", family.videodd, None, None, None),
]


def test_every_layout_of_the_family_has_a_case() -> None:
    """A new member is not complete before its writer's files are read."""
    modules = [
        importlib.import_module(f"{mtt_family.__name__}.{item.name}")
        for item in pkgutil.iter_modules(mtt_family.__path__)
    ]
    members = {module.LAYOUT.name for module in modules if hasattr(module, "LAYOUT")}
    assert len(members) > 10
    assert members == {case.name for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_weight_arrives_and_what_the_path_says_is_known(tmp_path: Path, case: Case) -> None:
    """Told whose files they are: all weights bit for bit, facts of the path, unit of a timestep, no other."""
    written = case.write(tmp_path / "there")
    events = run(written.folder, tmp_path / "out.mtt", layout=case.name)
    same(tmp_path / "out.mtt", written.experts)
    with trajfmt.open(tmp_path / "out.mtt") as bundle:
        known = msgspec.to_builtins(bundle.manifest.provenance)
        names = [parameter.name for parameter in bundle.layout.parameters]
    assert known.get("dataset") == case.dataset
    assert (known.get("preprocessing") or {}).get("kind") == case.preprocessing
    assert known["timestep"] == EPOCH
    assert known["recipe"]["codebase"].lower() == case.name
    assert (known["known_from"]["recipe"], known["known_from"]["timestep"]) == ("flag", "layout")
    assert [known["known_from"].get("dataset")] == ["path" if case.dataset else None]
    assert [source["name"] for source in known["sources"]] == written.names
    assert names[:4] == (
        ["param.000", "param.001", "param.002", "param.003"] if "video" in case.name else NAMES
    )
    for fact, value in case.model.items():
        assert known["model"][fact] == value
    assert f"--from {case.name}" in told(events, "found")[0]
    assert not any("numbering" in text for text in told(events, "notice"))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_looking_tells_no_more_than_there_is_to_see(tmp_path: Path, case: Case) -> None:
    """Not told, a folder is taken for its codebase's where form or neighbours say so, else for MTT's."""
    folder = case.write(tmp_path / "there").folder
    collection = open_source(folder)
    known = msgspec.to_builtins(collection.provenance)
    assert collection.layout_name == f"{(case.recipe or {'codebase': 'MTT'})['codebase']} buffer"
    assert known.get("recipe") == case.recipe
    assert "replay_buffer_<n>.pt" in collection.recognised
    if case.recipe is not None:
        assert known["known_from"]["recipe"] == ("layout" if case.name in ("edf", "ltdd") else "path")


def test_convexified_knots_are_the_ends(tmp_path: Path) -> None:
    """As .mct, too, both ends of every expert are exact."""
    written = family.mtt(tmp_path)
    run(written.folder, tmp_path / "out.mct")
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        for trajectory, expert in zip(bundle, written.experts, strict=True):
            assert np.array_equal(trajectory.knot(0), rows(expert)[0])
            assert np.array_equal(trajectory.knot(1), rows(expert)[-1])


@pytest.mark.parametrize(
    ("folder", "codebase"),
    [("FTD_buffers", "FTD"), ("buffers-datm", "DATM"), ("TESLA", "TESLA"), ("mtt", "MTT"), ("my_ftd", None)],
)
def test_a_folder_called_like_a_codebase_tells_whose_files_they_are(
    tmp_path: Path, folder: str, codebase: str | None
) -> None:
    """A name that begins with the codebase's is believed, and said to be from the path; no other is."""
    written = family.mtt(tmp_path / folder)
    run(written.folder, tmp_path / "out.mct")
    known = trajfmt.open(tmp_path / "out.mct").manifest.provenance
    assert known.recipe == ({"codebase": codebase} if codebase else None)
    assert known.known_from.get("recipe") == ("path" if codebase else None)
    assert known.timestep is not None  # the path is of the family's form


def test_files_without_a_path_that_tells_have_no_unit(tmp_path: Path) -> None:
    """MTT's names alone do not say epoch: graph distillation has the same, every 10 epochs."""
    written = family.run(tmp_path / "somewhere")
    run(written.folder, tmp_path / "out.mct")
    assert trajfmt.open(tmp_path / "out.mct").manifest.provenance.timestep is None


def test_experts_that_were_never_flushed_arrive(tmp_path: Path) -> None:
    """EDF after a kill: one buffer, and three experts that only checkpoint.pt holds; the others are told."""
    written = family.edf(tmp_path)
    events = run(written.folder, tmp_path / "out.mtt")
    same(tmp_path / "out.mtt", written.experts)
    (line,) = told(events, "skipped")
    assert line.endswith(
        "checkpoint.pt: 2 trajectories whose first and last weights earlier files hold already (0, 1)"
    )
    with trajfmt.open(tmp_path / "out.mtt") as bundle:
        origins = [(entry.origin.file, entry.origin.trajectory) for entry in bundle.manifest.trajectories]
    assert origins == [(0, 0), (0, 1), (1, 2), (1, 3), (1, 4)]


def test_a_checkpoint_that_holds_nothing_new_is_one_line(tmp_path: Path) -> None:
    """After every regular run of EDF checkpoint.pt repeats the last buffer."""
    written = family.edf(tmp_path, killed=False)
    events = run(written.folder, tmp_path / "out.mtt")
    same(tmp_path / "out.mtt", written.experts)
    assert len(told(events, "skipped")) == 1


def test_a_plan_says_that_it_counts_what_was_saved_again(tmp_path: Path) -> None:
    """Without the weights nobody knows which experts of checkpoint.pt are new."""
    found = plan(family.edf(tmp_path).folder)
    assert found.trajectories == 7
    assert any("saves some trajectories more than once" in text for text in found.notices)


def test_edf_alone_in_its_checkpoint(tmp_path: Path) -> None:
    """Killed before the first buffer, all experts are in checkpoint.pt; told, they convert."""
    written = family.edf(tmp_path, killed=False)
    (written.folder / "replay_buffer_0.pt").unlink()
    with pytest.raises(SourceError):
        open_source(written.folder, layout="mtt")
    run(written.folder, tmp_path / "out.mtt", layout="edf")
    same(tmp_path / "out.mtt", written.experts)


def test_a_checkpoint_of_another_kind_is_left_out_with_its_reason(tmp_path: Path) -> None:
    """A state dict called checkpoint.pt beside buffers is left out; told that it is EDF's, an error."""
    written = family.mtt(tmp_path)
    torch.save({"weight": torch.zeros(3)}, written.folder / "checkpoint.pt")
    events = run(written.folder, tmp_path / "out.mtt")
    same(tmp_path / "out.mtt", written.experts)
    assert told(events, "found")[0].startswith("MTT buffer")
    (line,) = [text for text in told(events, "notice") if "checkpoint.pt" in text]
    assert line.startswith("left out: checkpoint.pt")
    assert "a dict" in line
    with pytest.raises(CorruptError, match=r"checkpoint\.pt.*a dict"):
        convert(written.folder, tmp_path / "told.mtt", ConvertOptions(layout="edf"))


def test_equal_experts_of_two_processes_are_left_out_with_one_line(tmp_path: Path) -> None:
    """PAD's processes that drew one seed; without the layout's name the duplicate stops, as for MTT."""
    written = family.pad(tmp_path)
    events = run(written.folder, tmp_path / "out.mtt", layout="pad")
    assert len(told(events, "skipped")) == 1
    with pytest.raises(SourceError) as caught:
        convert(written.folder, tmp_path / "mtt.mtt")
    assert caught.value.reason == "duplicate_trajectory"


def test_frozen_features_stay_where_they_are(tmp_path: Path) -> None:
    """LTDD's second stage: tensors that never move are exact at every t, the others move."""
    written = family.ltdd(tmp_path)
    run(written.folder, tmp_path / "out.mct")
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        frozen = bundle.layout.offsets[4]
        for trajectory, expert in zip(bundle, written.experts, strict=True):
            start = rows(expert)[0]
            for t in (0, 0.7, 2.3, 3):
                assert np.array_equal(trajectory.at(t)[:frozen], start[:frozen])
            assert not np.array_equal(trajectory.at(1.5)[frozen:], start[frozen:])


def test_nodistills_reader_would_miss_file_0(tmp_path: Path) -> None:
    """Numbers from 1 are as they should be for NoDistill; a file 0 is used, and its reader's miss is told."""
    written = family.mtt(tmp_path)
    events = run(written.folder, tmp_path / "out.mtt", layout="nodistill")
    same(tmp_path / "out.mtt", written.experts)
    assert any("begins at file 1" in text for text in told(events, "notice"))
    numbered = family.nodistill(tmp_path / "from-1")
    events = run(numbered.folder, tmp_path / "mtt.mtt", layout="mtt")
    assert any("does not start at 0" in text for text in told(events, "notice"))


def test_selmatch_folder_without_its_name_would_be_taken_for_whitened(tmp_path: Path) -> None:
    """The same path means whitened images for MTT, and never for SelMatch: that is what --from is for."""
    folder = family.selmatch(tmp_path / "a").folder
    kinds = [open_source(folder, layout=name).facts.preprocessing.kind for name in ("mtt", "selmatch")]
    assert kinds == ["zca", "normalize"]


@pytest.mark.parametrize(
    ("name", "path", "mean"),
    [
        ("mkdt", "cifar100_NO_ZCA_1/ConvNet", [0.5071, 0.4865, 0.4409]),
        ("mkdt", "cifar10_NO_ZCA_1/ConvNet", [0.4914, 0.4822, 0.4465]),
        ("selmatch", "Tiny/ConvNetD4", [0.4802, 0.4481, 0.3975]),
        ("selmatch", "CIFAR100/ConvNet", [0.4914, 0.4822, 0.4465]),
    ],
)
def test_constants_of_a_normalisation_are_the_codebases_own(
    tmp_path: Path, name: str, path: str, mean: list[float]
) -> None:
    """Where a codebase normalises by other numbers than MTT, those are recorded."""
    folder = family.run(tmp_path / path).folder
    assert open_source(folder, layout=name).facts.preprocessing.mean == mean


def test_a_folder_of_mtt_tells_nothing_about_the_images_of_glad(tmp_path: Path) -> None:
    """MTT's `CIFAR10` means whitened images, and GLaD never whitens."""
    folder = family.mtt(tmp_path).folder
    assert open_source(folder).facts.preprocessing is not None
    assert open_source(folder, layout="glad").facts.preprocessing is None


def test_a_flag_of_glad_that_does_nothing_tells_nothing(tmp_path: Path) -> None:
    """`--zca` names the folder, and its data are normalised all the same: what was done is asked for."""
    assert open_source(family.glad(tmp_path).folder).facts.preprocessing is None
