"""SGD with momentum on images and learning rate."""

import pytest

torch = pytest.importorskip("torch")
from tests.helpers.distilling import CONFIG, StubEngine, distiller_of  # noqa: E402


def test_update_is_sgd_with_momentum(bundle, digits, model) -> None:
    """Images and learning rate follow torch.optim.SGD with momentum 0.5, bit for bit."""
    distiller = distiller_of(bundle, digits, model, unroll=StubEngine(image=0.25, slope=3.0))
    state = distiller.initial()
    image = state.synthetic.images.clone().requires_grad_()
    rate = torch.tensor(state.synthetic.learning_rate, dtype=torch.float64, requires_grad=True)
    optimizers = [torch.optim.SGD([image], lr=CONFIG.lr_img, momentum=0.5),
                  torch.optim.SGD([rate], lr=CONFIG.lr_lr, momentum=0.5)]  # fmt: skip
    for _ in range(4):
        state, event = distiller.step(state)
        image.grad, rate.grad = torch.full_like(image, 0.25), torch.full_like(rate, 3.0)
        for optimizer in optimizers:
            optimizer.step()
        assert torch.equal(state.synthetic.images, image.detach())
        assert event.learning_rate == pytest.approx(float(rate.detach()), rel=1e-14)
