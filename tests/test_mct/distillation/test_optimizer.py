"""SGD with momentum on images and learning rate."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
from mct.distillation.optimizer import advanced  # noqa: E402
from mct.errors import ConfigError  # noqa: E402
from mct.learned.updates import Adam, Averaged, Sgd  # noqa: E402
from mct.methods.recipe import Recipe  # noqa: E402
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


class InPlace:
    """SGD as a user may write it, in place; `shape` spoils what it returns."""

    def __init__(self, spoil=lambda value: value) -> None:
        self.spoil = spoil

    def start(self, _value):
        """Return nothing to remember."""
        return {}

    def __call__(self, value, gradient, memory, _step):
        """Subtract the gradient in place."""
        return self.spoil(value.sub_(gradient)), memory


def test_an_update_in_place_leaves_the_state_before_alone(bundle, digits, model) -> None:
    """The images of the state before, and with them the best ones, keep their bits."""
    recipe = Recipe(name="own", updates={"images": InPlace()})
    distiller = distiller_of(bundle, digits, model, unroll=StubEngine(image=0.25), recipe=recipe)
    state = distiller.initial()
    before = state.synthetic.images.clone()
    after, _ = distiller.step(state)
    assert torch.equal(state.synthetic.images, before)
    assert torch.equal(after.synthetic.images, before - 0.25)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(lambda v: v[1:], r"must return a tensor \(10, 1, 8, 8\) of torch.float32, got \(9, 1, 8, 8\)"),
     (lambda v: v.double(), "of torch.float64"), (lambda _: 3.0, "got float")],
)  # fmt: skip
def test_an_update_must_return_what_it_was_given(bundle, digits, model, spoil, words: str) -> None:
    """Of the same shape and type; else one line names the update."""
    recipe = Recipe(name="own", updates={"images": InPlace(spoil)})
    distiller = distiller_of(bundle, digits, model, unroll=StubEngine(), recipe=recipe)
    with pytest.raises(ConfigError, match=words):
        distiller.step(distiller.initial())


def test_averages_of_labels_and_rate_are_the_result(bundle, digits, model) -> None:
    """As those of images are."""
    config = replace(CONFIG, labels="learned")
    rules = {name: Averaged(Sgd(0.5), 0.5) for name in ("labels", "learning_rate")}
    distiller = distiller_of(bundle, digits, model, config, recipe=Recipe(name="own", updates=rules))
    start = distiller.initial()
    rule = replace(rules["learning_rate"].update, lr=1e-9)
    distiller._updates["learning_rate"] = Averaged(rule, 0.5)
    state, _ = distiller.step(start)
    logits = (start.synthetic.label_logits + state.synthetic.label_logits) / 2
    torch.testing.assert_close(state.result.label_logits, logits)
    torch.testing.assert_close(state.result.soft_labels, logits.softmax(1))
    rates = (start.synthetic.learning_rate + state.synthetic.learning_rate) / 2
    assert state.result.learning_rate == pytest.approx(rates, rel=1e-12)


class Failing:
    """An update whose parts are mistakes."""

    def __init__(self, start=lambda: {}, after=lambda value: (value, {})) -> None:
        self._start, self._after = start, after

    def __repr__(self) -> str:
        return "Failing()"

    def start(self, _value):
        """Do what was given."""
        return self._start()

    def __call__(self, value, _gradient, _memory, _step):
        """Do what was given."""
        return self._after(value)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Failing(after=lambda _: 1 / 0), r"Failing\(\), raised ZeroDivisionError: division by zero$"),
        (Failing(after=lambda value: value), "must return a pair: .*, got Tensor$"),
        (Failing(after=lambda value: (value, None)), r"must return a pair: .*, got \(Tensor, NoneType\)$"),
        (
            Failing(start=lambda: None),
            r"^`start` of the update of `images`, Failing\(\), .*, got NoneType$",
        ),
        (Failing(start=lambda: {"kind": "text"}), r"got \{'kind': str\}$"),
        (Failing(start=lambda: {}["mean"]), r"Failing\(\), raised KeyError: 'mean'$"),
    ],
)
def test_mistakes_of_an_update_are_one_line(bundle, digits, model, rule: Failing, words: str) -> None:
    """With the value, the update, and what was found."""
    recipe = Recipe(name="own", updates={"images": rule})
    distiller = distiller_of(bundle, digits, model, unroll=StubEngine(), recipe=recipe)
    with pytest.raises(ConfigError, match=words):
        distiller.step(distiller.initial())


def test_refused_steps_are_no_updates(bundle, digits, model) -> None:
    """Adam corrects for the updates that it has done, so that its first one is that of torch."""
    recipe = Recipe(name="own", updates={"images": Adam(0.1)})
    distiller = distiller_of(bundle, digits, model, unroll=StubEngine(image=0.25), recipe=recipe)
    state = distiller.initial()
    image = state.synthetic.images.clone().requires_grad_()
    for _ in range(7):
        state = advanced(state, refused=True)
    optimizer = torch.optim.Adam([image], lr=0.1)
    for _ in range(2):
        state, _ = distiller.step(state)
        image.grad = torch.full_like(image, 0.25)
        optimizer.step()
    torch.testing.assert_close(state.synthetic.images, image.detach(), rtol=1e-6, atol=1e-6)
