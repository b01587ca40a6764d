"""The forms of the folder names of MTT's relatives."""

from __future__ import annotations

from pathlib import Path

import pytest

from trajfmt.sources.mtt_family.paths import folder_named, in_form_of_mtt, parts_of, without_resolution


@pytest.mark.parametrize(
    ("folder", "dataset"),
    [
        ("/b/ImageNet/imagenette/ConvNetD5", "ImageNet/imagenette"),
        ("/b/ImageNet/imagenette/128/ConvNetD5", "ImageNet/imagenette"),
        ("/b/ImageNet64/x/128/ConvNetD5", "ImageNet64/x"),
        ("/b/other/imagenette/128/ConvNetD5", None),
        ("/b/ImageNet/imagenette/128/whatever", None),
        ("/ImageNet/x/ConvNetD5", None),
        ("/b/CIFAR10/ConvNet", "CIFAR10"),
    ],
)
def test_data_set_without_a_resolution(folder: str, dataset: str | None) -> None:
    """A folder of digits between data set and network is a resolution; other forms say nothing."""
    assert without_resolution(Path(folder)).dataset == dataset


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("/x/ftd/CIFAR10/ConvNet", "ftd"),
        ("/x/buffers-FTD_v2/CIFAR10/ConvNet", "buffers-FTD_v2"),
        ("/x/FTD/tesla/ConvNet", "tesla"),
        ("/x/aftd/CIFAR10/ConvNet", None),
        ("/x/ftdx/CIFAR10/ConvNet", None),
        ("/ftd/1/2/3/4", "ftd"),
        ("/ftd/1/2/3/4/5", None),
    ],
)
def test_folder_that_is_called_like_a_codebase(folder: str, name: str | None) -> None:
    """Of several the innermost, as a whole word, at most five components from the end."""
    assert folder_named(Path(folder), ["ftd", "tesla"]) == name


def test_components_of_a_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of the absolute path, without the root; the other way round they are a path of MTT's."""
    monkeypatch.chdir(tmp_path)
    assert parts_of(Path("a/../b")) == (*tmp_path.parts[1:], "b")
    assert parts_of(Path("/")) == ()
    assert in_form_of_mtt("CIFAR100", "ConvNetBN").dataset == "CIFAR100"
