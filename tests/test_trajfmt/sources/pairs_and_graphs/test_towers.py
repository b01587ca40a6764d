"""Pairs of towers and runs of graph networks, on files that follow their writers, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trajfmt
from trajfmt.convert.run import convert
from trajfmt.errors import SourceError
from trajfmt.sources.discovery import open_source

torch = pytest.importorskip("torch")

from tests.foreign import towers  # noqa: E402  # the generators need torch
from tests.foreign.checking import run, same, told  # noqa: E402


@pytest.mark.parametrize(
    ("write", "dataset", "recipe"),
    [
        (towers.vl, "flickr", {"codebase": "VL", "image_encoder": "nfnet", "text_encoder": "bert"}),
        (
            towers.lors,
            "coco",
            {
                "codebase": "LoRS",
                "image_encoder": "nf_resnet50",
                "text_encoder": "distilbert",
                "loss": "InfoNCE",
                "augmented": False,
            },
        ),
    ],
    ids=["vl", "lors"],
)
def test_two_towers_are_one_trajectory(
    tmp_path: Path, write: Callable[[Path], towers.Pairs], dataset: str, recipe: dict[str, Any]
) -> None:
    """Image and text bit for bit in one vector, each under its own name, both files among the sources."""
    written = write(tmp_path / "there")
    events = run(written.folder, tmp_path / "out.mtt")
    same(tmp_path / "out.mtt", [towers.joined(*p) for p in zip(written.images, written.texts, strict=True)])
    assert recipe["codebase"] in told(events, "found")[0]
    with trajfmt.open(tmp_path / "out.mtt") as bundle:
        known = bundle.manifest.provenance
        assert [parameter.name for parameter in bundle.layout.parameters] == [
            *(f"image.{n:03d}" for n in range(4)),
            *(f"text.{m}.{k}" for m in ("projection", "fc", "layer_norm") for k in ("weight", "bias")),
        ]
        assert [entry.origin.file for entry in bundle.manifest.trajectories] == [0, 2, 4]
    assert (known.dataset, known.recipe) == (dataset, recipe)
    assert [s.name for s in known.sources] == [
        f"{half}_replay_buffer_{n}.pt" for n in range(3) for half in ("img", "txt")
    ]
    assert all(s.bytes == (written.folder / s.name).stat().st_size for s in known.sources)


@pytest.mark.parametrize("backwards", [False, True])
def test_towers_are_paired_by_number_whatever_the_directory_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backwards: bool
) -> None:
    """Text files listed the other way round, and 12 of them, so that letters and numbers differ."""
    written = towers.pairs(tmp_path / "there", 12)
    listed = Path.iterdir

    def shuffled(self: Path) -> Any:
        order = sorted(listed(self), key=lambda file: file.name, reverse=backwards)
        return iter(sorted(order, key=lambda file: file.name.startswith("txt") != backwards))

    monkeypatch.setattr(Path, "iterdir", shuffled)
    run(written.folder, tmp_path / "out.mtt")
    same(tmp_path / "out.mtt", [towers.joined(*p) for p in zip(written.images, written.texts, strict=True)])


@pytest.mark.parametrize("half", ["img", "txt"])
def test_a_missing_half_stops_and_is_left_out_on_demand(tmp_path: Path, half: str) -> None:
    """One half without the other: a clear line, nothing written; with keep_going the pairs are converted."""
    written = towers.vl(tmp_path / "there")
    (written.folder / f"{half}_replay_buffer_1.pt").unlink()
    with pytest.raises(SourceError) as caught:
        convert(written.folder, tmp_path / "out.mtt")
    assert caught.value.reason == "unpaired_file"
    assert f"{half}_replay_buffer_1.pt is missing" in str(caught.value)
    assert not (tmp_path / "out.mtt").exists()
    events = run(written.folder, tmp_path / "out.mtt", keep_going=True)
    assert len(told(events, "skipped")) == 1
    kept = [towers.joined(written.images[n], written.texts[n]) for n in (0, 2)]
    same(tmp_path / "out.mtt", kept)
    with trajfmt.open(tmp_path / "out.mtt") as bundle:
        assert len(bundle.manifest.provenance.sources) == 4
        assert [entry.origin.file for entry in bundle.manifest.trajectories] == [0, 2]


def test_towers_of_different_lengths_are_no_pair(tmp_path: Path) -> None:
    """21 timesteps beside 51: of different runs, whatever their numbers say."""
    written = towers.vl(tmp_path / "there")
    torch.save([written.texts[1][:-1]], written.folder / "txt_replay_buffer_1.pt")
    with pytest.raises(SourceError, match=r"4 timesteps.*txt_replay_buffer_1\.pt 3") as caught:
        convert(written.folder, tmp_path / "out.mtt")
    assert caught.value.reason == "pair_mismatch"


def test_files_with_different_counts_are_no_pair(tmp_path: Path) -> None:
    """A file of two text towers beside one image tower."""
    written = towers.vl(tmp_path / "there")
    torch.save(written.texts[:2], written.folder / "txt_replay_buffer_0.pt")
    with pytest.raises(SourceError, match=r"holds 1 trajectory.*holds 2") as caught:
        convert(written.folder, tmp_path / "out.mtt")
    assert caught.value.reason == "pair_mismatch"


def test_swapped_towers_are_told(tmp_path: Path) -> None:
    """The text tower under the image's name and the other way round."""
    written = towers.vl(tmp_path / "there")
    for n in range(3):
        image, text = (written.folder / f"{half}_replay_buffer_{n}.pt" for half in ("img", "txt"))
        image.rename(tmp_path / "keep")
        text.rename(image)
        (tmp_path / "keep").rename(text)
    with pytest.raises(SourceError, match="swapped") as caught:
        convert(written.folder, tmp_path / "out.mtt")
    assert caught.value.reason == "pair_mismatch"


def test_one_tower_alone_is_no_trajectory(tmp_path: Path) -> None:
    """A file of a pair given by itself as VL's."""
    written = towers.vl(tmp_path / "there")
    with pytest.raises(SourceError) as caught:
        open_source(written.folder / "img_replay_buffer_0.pt", layout="vl")
    assert caught.value.reason == "unpaired_file"
