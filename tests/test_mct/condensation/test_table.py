"""Every method takes outer steps of the same form."""

import pytest

torch = pytest.importorskip("torch")

from mct.condensation.table import TABLE  # noqa: E402
from mct.settings.condensation import USED  # noqa: E402


def test_methods_are_those_that_have_settings() -> None:
    """None is missing on either side."""
    assert TABLE.keys() == USED.keys()


@pytest.mark.parametrize("name", TABLE)
def test_step_depends_on_the_generator_alone(scene_of, synthetic, name) -> None:
    """Two steps with one seed give the same bits whatever else was drawn, and another seed others."""

    def run(seed: int) -> list[torch.Tensor]:
        torch.manual_seed(seed + 17)
        scene, found = scene_of(matches=2, passes=2), []

        def update(loss, slope):
            found.extend((loss, slope))
            return synthetic - 0.1 * slope

        TABLE[name].check(scene.fresh(torch.Generator()), synthetic)
        TABLE[name].step(scene, synthetic, update, torch.Generator().manual_seed(seed))
        return found

    one, two, other = run(0), run(0), run(1)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert not torch.equal(one[1], other[1])
