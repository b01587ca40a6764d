"""Whose name counts if links lead to the files of a source."""

from __future__ import annotations

from pathlib import Path

import pytest

from trajfmt.errors import SourceError
from trajfmt.sources.discovery import open_source

FILES = {
    "mtt": ("replay_buffer_0.pt",),
    "mct-dense": ("convexified_replay_buffer_0.pt",),
    "mct-authors": ("waypoint_buffer_0.pt", "step_buffer_0.pt"),
}


def _write(folder: Path, layout: str) -> Path:
    folder.mkdir(parents=True)
    for name in FILES[layout]:
        (folder / name).write_bytes(b"not read yet")
    return folder


@pytest.mark.parametrize("layout", FILES)
@pytest.mark.parametrize("place", ["CIFAR10", "CIFAR10/ConvNet", "file"])
def test_the_name_of_the_target_counts(tmp_path: Path, layout: str, place: str) -> None:
    """A link of another name, at any place of the path, does not change what its target says."""
    target = _write(tmp_path / "CIFAR10_NO_ZCA/ConvNet", layout)
    if place == "file":
        (tmp_path / "CIFAR10/ConvNet").mkdir(parents=True)
        for name in FILES[layout]:
            (tmp_path / "CIFAR10/ConvNet" / name).symlink_to(target / name)
    else:
        link = tmp_path / place
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(tmp_path / place.replace("CIFAR10", "CIFAR10_NO_ZCA"))
    found = open_source(tmp_path / "CIFAR10/ConvNet", layout=layout)
    assert found.facts.preprocessing is not None
    assert (found.facts.dataset, found.facts.preprocessing.kind) == ("CIFAR10", "normalize")
    (said,) = (text for text in found.notices if "to which a link leads" in text)
    assert said == (
        f"preprocessing kind normalize, as the name of {target} says, to which a link leads, and not"
        f" preprocessing kind zca, as {tmp_path / 'CIFAR10/ConvNet'} says"
    )


def test_a_target_that_says_nothing_leaves_the_name_of_the_link(tmp_path: Path) -> None:
    """Files in a store, and links to folders that say the same, are named by the link, without a remark."""
    _write(tmp_path / "store/7f3a", "mtt")
    _write(tmp_path / "other/Tiny/ConvNetD4", "mtt")
    (tmp_path / "Tiny").mkdir()
    for name, target in (("ConvNetD4", "store/7f3a"), ("ConvNetD4W128", "other/Tiny/ConvNetD4")):
        (tmp_path / "Tiny" / name).symlink_to(tmp_path / target)
        found = open_source(tmp_path / "Tiny" / name)
        assert (found.facts.dataset, found.notices) == ("Tiny", [])


def test_links_to_folders_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    """One set of facts cannot hold for the files of two."""
    (tmp_path / "all").mkdir()
    for number, name in enumerate(("CIFAR10", "CIFAR100")):
        target = _write(tmp_path / name / "ConvNet", "mtt")
        (tmp_path / f"all/replay_buffer_{number}.pt").symlink_to(target / "replay_buffer_0.pt")
    with pytest.raises(SourceError, match=r"other: dataset CIFAR100 \(.*, dataset CIFAR10 \("):
        open_source(tmp_path / "all")


def test_the_name_of_the_target_counts_for_towers(tmp_path: Path) -> None:
    """Encoders and the augmentation are facts of the recipe, which the name of the target states."""
    target = tmp_path / "coco/nf_resnet50_bert/InfoNCE_NoAug"
    target.mkdir(parents=True)
    for half in ("img", "txt"):
        (target / f"{half}_replay_buffer_0.pt").write_bytes(b"not read yet")
    (target.parent / "InfoNCE").symlink_to(target)
    found = open_source(target.parent / "InfoNCE")
    assert found.provenance.recipe is not None
    assert found.provenance.recipe["augmented"] is False
    assert any(text.startswith("model augmented False, as the name of") for text in found.notices)
