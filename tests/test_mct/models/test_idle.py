"""Parameters that do not change the output of a network."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from mct.errors import ConfigError  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.models.idle import idle_parameters  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ConvNetD2W4", {"features.0.bias", "features.4.bias"}),
        ("ConvNetD2W4BN", {"features.0.bias", "features.4.bias"}),
        ("ConvNetD2W8GN", set()),
        ("ConvNetD2W4LN", set()),
        ("ConvNetD2W4NN", set()),
    ],
)
def test_biases_in_front_of_a_norm_are_idle(name: str, expected: set[str]) -> None:
    """Of a norm that subtracts the mean of every channel."""
    model = networks.parse(name, channels=3, image_size=8, classes=5)
    network = networks.build(model, generator=generator(0))
    before = networks.flatten(network).clone()
    idle = torch.split(idle_parameters(network, (3, 8, 8)), [value.numel() for value in network.parameters()])
    found = {name for (name, _), piece in zip(network.named_parameters(), idle, strict=True) if piece.all()}
    assert found == expected
    assert not any(piece.any() for piece in idle if not piece.all())
    assert torch.equal(networks.flatten(network), before)
    assert before.dtype == torch.float32


def test_a_branch_that_begins_at_zero_is_not_idle() -> None:
    """It has no gradient at the initial weights, but near them."""
    network = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2)
    )
    torch.nn.init.zeros_(network[3].weight)
    assert not idle_parameters(network, (1, 2, 2)).any()


def test_network_that_needs_float32_is_refused() -> None:
    """In one line that says why."""

    class Narrow(torch.nn.Linear):
        def forward(self, images):
            return super().forward(images.flatten(1).float())

    with pytest.raises(ConfigError, match=r"cannot be computed in float64: .*dtype"):
        idle_parameters(Narrow(4, 2), (1, 2, 2))
