"""The timestep of the expert whose outputs are the labels."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
from mct.distillation import label_times  # noqa: E402
from mct.errors import ConfigError  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.trajectories.stream import KnotStream  # noqa: E402
from tests.helpers.distilling import CONFIG, StubEngine, distiller_of  # noqa: E402
from tests.helpers.fakes import FakeBundle, bundle_of  # noqa: E402


@pytest.mark.parametrize(("which", "time"), [("max-start", 3.0), ("last", 6.0)])
def test_labels_are_what_the_expert_says_at_this_time(bundle, digits, model, which: str, time: float) -> None:
    """Softmax of the network with the weights of the trajectory of the outer step; the target is another."""
    config = replace(CONFIG, labels="teacher", label_time=which)
    distiller = distiller_of(bundle, digits, model, config, unroll=StubEngine())
    before = distiller.initial()
    after, event = distiller.step(before)
    network = networks.build(model, generator=generator(0)).eval()
    weights = torch.from_numpy(bundle[event.trajectory].at(time)).float()
    torch.nn.utils.vector_to_parameters(weights, network.parameters())
    expected = network(before.synthetic.images).softmax(1)
    assert torch.allclose(after.synthetic.soft_labels, expected, atol=1e-6)
    assert event.target not in (3.0, 6.0)


def test_a_full_bundle_has_no_weights_between_timesteps() -> None:
    """A bound of the starts that is no timestep is refused before the first step, unless it is not used."""
    bundle = bundle_of(None, last=8)
    assert isinstance(bundle, FakeBundle)
    stream = KnotStream(bundle, expert_steps=2, max_start=2.5)
    config = replace(CONFIG, labels="teacher", label_time="max-start", max_start=2.5)
    with pytest.raises(ConfigError, match=r"needs weights at timestep 2\.5, but a full bundle has them"):
        label_times.of(config, stream)
    for other in ({"label_time": "target"}, {"labels": "hard"}):
        assert label_times.of(replace(config, **other), stream) is None
