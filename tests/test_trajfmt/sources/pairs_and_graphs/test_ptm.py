"""PTM-ST's pairs of towers: as trained, and convexified with a copy of all weights for every timestep."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import trajfmt
from trajfmt.convert.run import convert
from trajfmt.errors import CorruptError
from trajfmt.export.run import export

torch = pytest.importorskip("torch")

from tests.foreign import towers  # noqa: E402  # the generators need torch
from tests.foreign.checking import run, same, told  # noqa: E402

RECIPE = {
    "codebase": "PTM-ST",
    "image_encoder": "nfnet",
    "text_encoder": "bert",
    "loss": "InfoNCE",
    "augmented": True,
}


def _dense(folder: Path, number: int) -> np.ndarray:
    """Return all timesteps of a pair, as the script of PTM-ST reads them."""
    image, text = (torch.load(folder / f"{kind}_replay_buffer_{number}.pt") for kind in ("img", "txt"))
    (image,), (text,) = image, text
    return np.stack(
        [torch.cat([x.reshape(-1) for x in (*a, *b)]).numpy() for a, b in zip(image, text, strict=True)]
    )


def test_trained_towers_are_recognised(tmp_path: Path) -> None:
    """By the folder `normal`; every timestep bit for bit."""
    written = towers.ptm(tmp_path)
    run(written.folder, tmp_path / "out.mtt")
    same(tmp_path / "out.mtt", [towers.joined(*p) for p in zip(written.images, written.texts, strict=True)])
    known = trajfmt.open(tmp_path / "out.mtt").manifest.provenance
    assert (known.dataset, known.recipe) == ("flickr", RECIPE)


@pytest.mark.parametrize(("start", "end"), [(0, 3), (1, 4)])
def test_convexified_towers_are_two_knots(tmp_path: Path, start: int, end: int) -> None:
    """With the ends bit for bit, and between them the weights of a conversion of the trained ones."""
    written = towers.ptm(tmp_path)
    folder = towers.convexified(written, start, end)
    events = run(folder, tmp_path / "theirs.mct")
    run(written.folder, tmp_path / "ours.mct", timesteps=(start, end))
    (text,) = (
        text for text in told(events, "notice") if "between the first and the last one, to within" in text
    )
    assert float(text.split("within ")[1].split()[0]) < 2e-7
    with trajfmt.open(tmp_path / "theirs.mct") as theirs, trajfmt.open(tmp_path / "ours.mct") as ours:
        assert theirs.manifest.provenance.recipe == RECIPE
        assert theirs.manifest.provenance.first_timestep == (start or None)
        for number, (one, other) in enumerate(zip(theirs, ours, strict=True)):
            dense = _dense(folder, number)
            assert one.knots == other.knots == (0, end - start - 1)
            assert [one.knot(n).tobytes() for n in (0, 1)] == [dense[0].tobytes(), dense[-1].tobytes()]
            assert [entry.digest for entry in theirs.manifest.trajectories] == [
                entry.digest for entry in ours.manifest.trajectories
            ]
            assert one.step_norms is None
            for t in range(one.timesteps):
                for weights in (one.at(t), other.at(t)):
                    assert np.abs(weights - dense[t]).max() <= 2e-7 * np.abs(dense[t]).max()


def test_timesteps_that_are_not_on_the_lines_are_refused(tmp_path: Path) -> None:
    """Only the folder's name says that they are; by another layout, they are the timesteps of a training."""
    written = towers.ptm(tmp_path)
    folder = written.folder.rename(written.folder.with_name("convexified_0_4"))
    with pytest.raises(
        CorruptError, match=r"trajectory 0: not convexified as its folder says: .* `image\.000`"
    ):
        convert(folder, tmp_path / "out.mct")
    assert not (tmp_path / "out.mct").exists()
    run(folder, tmp_path / "out.mct", layout="lors")


def test_a_shorter_trajectory_than_its_folder_says_is_told(tmp_path: Path) -> None:
    """Python's slice takes what there is."""
    folder = towers.convexified(towers.ptm(tmp_path), 1, 9)
    said = told(run(folder, tmp_path / "out.mct"), "notice")
    assert "some trajectories have 3 timesteps, the name of their folder says 8" in said


def test_export_writes_what_its_script_reads(tmp_path: Path) -> None:
    """Every timestep of both towers, under its names; read again, they are the same two knots."""
    run(towers.ptm(tmp_path).folder, tmp_path / "out.mct", timesteps=(0, 3))
    (parent := tmp_path / "there" / "flickr" / "nfnet_bert" / "InfoNCE").mkdir(parents=True)
    folder = parent / "convexified_0_3"
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        export(bundle, folder, to="towers", per_file=1)
        for number, trajectory in enumerate(bundle):
            assert np.array_equal(_dense(folder, number), trajectory[:])
    run(folder, tmp_path / "back.mct")
    bundles = [trajfmt.open(tmp_path / name) for name in ("out.mct", "back.mct")]
    assert len({tuple(entry.digest for entry in bundle.manifest.trajectories) for bundle in bundles}) == 1
