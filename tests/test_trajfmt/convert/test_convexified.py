"""What a conversion asks and says of a source that is convexified already."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
import trajfmt  # noqa: E402
from tests.foreign import checkpoints as foreign  # noqa: E402
from tests.helpers.conversion import notices, run, save, theta  # noqa: E402
from trajfmt.convert.options import ConvertOptions  # noqa: E402
from trajfmt.convert.run import convert  # noqa: E402
from trajfmt.errors import UsageError  # noqa: E402


@pytest.mark.parametrize("knots", [(2,), (1, 2, 3, 4)])
def test_a_full_bundle_of_a_convexified_one_says_what_it_is_not(
    tmp_path: Path, knots: tuple[int, ...]
) -> None:
    """The remark on buffers comes only if there are timesteps between the knots."""
    states = dict(enumerate(foreign.training(6)[0]))
    run(foreign.plain(tmp_path / "run", states), tmp_path / "a.mct", knots=knots)
    said = notices(run(tmp_path / "a.mct", tmp_path / "a.mtt"))
    assert "its knots, betas and step norms are not stored" in said
    assert ("timesteps between the knots are computed" in said) == (knots == (2,))
    assert ("the module buffers are those of the first of them" in said) == (knots == (2,))
    assert "convexified" not in notices(run(tmp_path / "a.mtt", tmp_path / "b.mtt"))


def test_computed_timesteps_are_recorded_as_such(tmp_path: Path) -> None:
    """Also in what is made of them, and no bundle has both these and timesteps of a training."""
    source = save(tmp_path / "src", [theta(0)])
    other = save(tmp_path / "other", [theta(1)])
    run(source, tmp_path / "a.mct")
    run(tmp_path / "a.mct", tmp_path / "a.mtt")
    run(tmp_path / "a.mtt", tmp_path / "b.mct")
    for name in ("a.mtt", "b.mct"):
        assert trajfmt.open(tmp_path / name).manifest.provenance.recipe == {"convexified": True}
    run(other, tmp_path / "b.mtt")
    with pytest.raises(UsageError, match="timesteps are those of a training, those of the source computed"):
        run(tmp_path / "a.mct", tmp_path / "b.mtt", append=True)
    with pytest.raises(UsageError, match="timesteps are computed from convexified ones, those of the source"):
        run(other, tmp_path / "a.mtt", append=True)
    run(source, tmp_path / "every.mct", knots=tuple(range(1, len(theta(0)) - 1)))
    run(tmp_path / "every.mct", tmp_path / "every.mtt")
    assert trajfmt.open(tmp_path / "every.mtt").manifest.provenance.recipe is None


def test_a_conversion_of_a_bundle_keeps_its_layers(tmp_path: Path) -> None:
    """Unless others are asked for; a convexified bundle accepts only its own."""
    source = save(tmp_path / "src", [theta(0)])
    run(source, tmp_path / "a.mtt", layers="all")
    run(tmp_path / "a.mtt", tmp_path / "b.mtt")
    run(tmp_path / "a.mtt", tmp_path / "c.mct")
    run(tmp_path / "a.mtt", tmp_path / "d.mct", layers="tensor")
    run(tmp_path / "c.mct", tmp_path / "e.mct", layers="all", dtype="F64")
    counts = [
        len(trajfmt.open(tmp_path / name).layout.layers) for name in ("b.mtt", "c.mct", "d.mct", "e.mct")
    ]
    assert counts == [1, 1, 4, 1]
    with pytest.raises(UsageError, match="omit knots, smoothing, averages, Gram matrix and layers"):
        convert(tmp_path / "c.mct", tmp_path / "f.mct", ConvertOptions(layers="tensor", dtype="F64"))


def test_facts_of_a_convexified_bundle_can_be_stated(tmp_path: Path) -> None:
    """A conversion that states facts is no copy; one that cuts timesteps is refused for what it is."""
    run(save(tmp_path / "src", [theta(0)]), tmp_path / "a.mct", knots=(2,))
    run(tmp_path / "a.mct", tmp_path / "b.mct", dataset="SVHN")
    with trajfmt.open(tmp_path / "a.mct") as before, trajfmt.open(tmp_path / "b.mct") as after:
        assert after.manifest.provenance.dataset == "SVHN"
        assert (after[0].digest, after[0].at(2.5).tobytes()) == (
            before[0].digest,
            before[0].at(2.5).tobytes(),
        )
        assert after[0].step_norms.tobytes() == before[0].step_norms.tobytes()
    with pytest.raises(UsageError, match="no option changes it; copy the folder instead"):
        convert(tmp_path / "a.mct", tmp_path / "c.mct")
    with pytest.raises(UsageError, match="timesteps cannot be removed"):
        convert(tmp_path / "a.mct", tmp_path / "c.mct", ConvertOptions(timesteps=(1, 3)))
