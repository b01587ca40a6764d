"""Compiled functions are autograd's, and what cannot be compiled runs uncompiled."""

import pytest

torch = pytest.importorskip("torch")
from mct.inner.steps.autograd import AutogradStep  # noqa: E402
from mct.inner.steps.compiled import CompiledStep  # noqa: E402
from mct.inner.steps.table import make_step  # noqa: E402
from tests.helpers.steps import check, inputs_of, network_of, relative  # noqa: E402


@pytest.mark.parametrize("name", ["ConvNetD1W4", "MLP"])
def test_compiled_functions_are_autograds(name: str) -> None:
    """What the compiler makes of the closed functions computes the same; another size compiles again."""
    told: list[str] = []
    layers = torch.nn.Flatten(), torch.nn.Linear(192, 7), torch.nn.Tanh(), torch.nn.Linear(7, 5)
    network = torch.nn.Sequential(*layers).double() if name == "MLP" else network_of(name)
    step = make_step(network, engine="compiled", notes=told.append)
    assert isinstance(step, CompiledStep)
    check(step, network, inputs_of(network))
    theta, _, pixels, targets = inputs_of(network, images=4)
    gradient, _ = step.gradient(step.pack(theta), pixels, targets)
    expected, _ = AutogradStep(network).gradient(theta, pixels, targets)
    assert relative(step.unpack(gradient), expected) < 1e-12
    assert not told


class Stubborn(torch.nn.Module):
    """A network that no compiler takes: it looks at a number."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(192, 5)

    def forward(self, images):
        """Return logits that depend on a Python number."""
        return self.linear(images.flatten(1)) * (1.0 if float(images.detach().mean()) > -9 else 2.0)


def test_network_that_cannot_be_compiled_runs_uncompiled() -> None:
    """It gives the same, and one line says why."""
    told: list[str] = []
    network = Stubborn().double()
    step = make_step(network, engine="compiled", notes=told.append)
    check(step, network, inputs_of(network))
    assert len(told) == 1
    assert told[0].startswith("the network could not be compiled and runs uncompiled: ")
    assert "\n" not in told[0]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
    ],
)
def test_exhausted_memory_is_no_reason_to_run_uncompiled(error, monkeypatch) -> None:
    """Whoever called has to free memory first; a fallback would need as much."""

    def refuse(*_args, **_kwargs):
        raise error

    monkeypatch.setattr(torch, "compile", refuse)
    told: list[str] = []
    network = network_of("ConvNetD1W4")
    step = make_step(network, engine="compiled", notes=told.append)
    theta, _, pixels, targets = inputs_of(network)
    with pytest.raises(type(error)):
        step.gradient(step.pack(theta), pixels, targets)
    assert not told
