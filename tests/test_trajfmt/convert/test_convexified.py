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
    with pytest.raises(UsageError, match="omit knots, smoothing, Gram matrix and layers"):
        convert(tmp_path / "c.mct", tmp_path / "f.mct", ConvertOptions(layers="tensor", dtype="F64"))
