"""What path, shapes and flags tell of a source, and which of them is believed."""

from __future__ import annotations

from pathlib import Path

import pytest

import trajfmt
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert
from trajfmt.errors import UsageError

torch = pytest.importorskip("torch")
from tests.helpers.conversion import SMALL, notices, run, save, theta  # noqa: E402


@pytest.mark.parametrize(
    ("path", "dataset", "preprocessing", "norm"),
    [
        ("CIFAR10/ConvNet", "CIFAR10", "zca", "instance"),
        ("CIFAR10_NO_ZCA/ConvNet", "CIFAR10", "normalize", "instance"),
        ("CIFAR100/ConvNetBN", "CIFAR100", "zca", "batch"),
        ("Tiny/ConvNet", "Tiny", None, "instance"),
        ("buffers/whatever", None, None, None),
    ],
)
def test_path_tells_what_it_can(
    tmp_path: Path, path: str, dataset: str | None, preprocessing: str | None, norm: str | None
) -> None:
    """MTT's folder names give data set, whitening and norm; other paths give nothing, and that is told."""
    events = run(save(tmp_path / path, [theta(0, shapes=SMALL)]), tmp_path / "out.mct")
    provenance = trajfmt.open(tmp_path / "out.mct").manifest.provenance
    assert provenance.dataset == dataset
    assert (provenance.preprocessing.kind if provenance.preprocessing else None) == preprocessing
    assert provenance.model.norm == norm
    assert (provenance.model.depth, provenance.model.width, provenance.model.classes) == (1, 4, 10)
    for word, known in (("data set", dataset), ("preprocessing", preprocessing), ("norm", norm)):
        assert (f"the {word} is unknown" in notices(events)) == (known is None)


def test_name_of_the_folder_that_contradicts_the_shapes_is_not_believed(tmp_path: Path) -> None:
    """ConvNetD4 on the shapes of depth 1: told, and the shapes win."""
    events = run(save(tmp_path / "Tiny" / "ConvNetD4", [theta(0, shapes=SMALL)]), tmp_path / "out.mct")
    assert "the folder name is ignored" in notices(events)
    model = trajfmt.open(tmp_path / "out.mct").manifest.provenance.model
    assert (model.depth, model.norm) == (1, None)


def test_flags_win_over_the_path_and_are_recorded_as_such(tmp_path: Path) -> None:
    """What a user says replaces what the path says."""
    run(
        save(tmp_path / "CIFAR10" / "ConvNet", [theta(0, shapes=SMALL)]),
        tmp_path / "out.mct",
        dataset="SVHN",
        model="ConvNetD1W4GN",
        preprocessing=trajfmt.Preprocessing(kind="normalize"),
    )
    provenance = trajfmt.open(tmp_path / "out.mct").manifest.provenance
    assert (provenance.dataset, provenance.model.norm) == ("SVHN", "group")
    flags = {"dataset": "flag", "model": "flag", "preprocessing": "flag"}
    assert provenance.known_from == {**flags, "timestep": "layout"}


@pytest.mark.parametrize(
    "model",
    [
        *("ConvNetD2", "ConvNetW8", "ResNet18", ""),
        pytest.param("ConvNetNN"),
        pytest.param("ConvNetLN"),
    ],
)
def test_model_flag_that_contradicts_the_shapes_is_refused(tmp_path: Path, model: str) -> None:
    """A flag cannot make the shapes another network's."""
    with pytest.raises(UsageError):
        convert(
            save(tmp_path / "src", [theta(0, shapes=SMALL)]),
            tmp_path / "out.mct",
            ConvertOptions(model=model),
        )


def test_path_through_the_parent_tells_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`../ConvNet` from a neighbouring folder is CIFAR10/ConvNet, not the data set `..`."""
    save(tmp_path / "CIFAR10" / "ConvNet", [theta(0, shapes=SMALL)])
    (tmp_path / "CIFAR10" / "other").mkdir()
    monkeypatch.chdir(tmp_path / "CIFAR10" / "other")
    run(Path("../ConvNet"), tmp_path / "out.mct")
    assert trajfmt.open(tmp_path / "out.mct").manifest.provenance.dataset == "CIFAR10"


def test_unknown_network_gets_numbered_parameters(tmp_path: Path) -> None:
    """Shapes of no known family: numbered names in the order of the file, and a word about it."""
    events = run(save(tmp_path / "src", [theta(0)]), tmp_path / "out.mct")
    assert "numbered" in notices(events)
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        assert [p.name for p in bundle.layout.parameters] == [f"param.{n:03d}" for n in range(4)]
        assert bundle.manifest.provenance.model is None


def test_options_that_contradict_the_path_or_a_bundle_are_said(tmp_path: Path) -> None:
    """With both values; what follows from the name of a data set that is not the right one is said, too."""
    source = save(tmp_path / "CIFAR10_NO_ZCA" / "ConvNetBN", [theta(0, shapes=SMALL)])
    said = notices(run(source, tmp_path / "a.mtt", dataset="SVHN", model="ConvNet"))
    assert "data set: SVHN, as an option says, and not CIFAR10 (known from the name of a folder)" in said
    assert "model: norm instance, as an option says, and not norm batch (known from the name of a f" in said
    assert "the preprocessing is still kind normalize, as the name of a folder says; pass --zca" in said
    zca = trajfmt.Preprocessing(kind="zca", eps=0.1)
    said = notices(run(tmp_path / "a.mtt", tmp_path / "b.mtt", model="ConvNetGN", preprocessing=zca))
    assert "model: norm group, as an option says, and not norm instance (known from an option)" in said
    assert "preprocessing: kind zca, as an option says, and not kind normalize" in said
    about = trajfmt.open(tmp_path / "b.mtt").manifest.provenance
    assert (about.model.norm, about.preprocessing, about.dataset) == ("group", zca, "SVHN")


def test_an_option_that_says_less_than_a_bundle_loses_nothing(tmp_path: Path) -> None:
    """Means and deviations that the bundle records are not replaced by those of MTT."""
    own = trajfmt.Preprocessing(kind="normalize", mean=[0.5] * 3, std=[0.25] * 3)
    source = save(tmp_path / "src", [theta(0, shapes=SMALL)])
    run(source, tmp_path / "a.mtt", dataset="CIFAR10", preprocessing=own)
    run(tmp_path / "a.mtt", tmp_path / "b.mtt", preprocessing=trajfmt.Preprocessing(kind="normalize"))
    assert trajfmt.open(tmp_path / "b.mtt").manifest.provenance.preprocessing == own
