"""One outer step: from state to state, without changing the one before."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import trajfmt  # noqa: E402
from mct.data.augment import DSA  # noqa: E402
from mct.data.picking import pick_per_class  # noqa: E402
from mct.distillation.distiller import Distiller  # noqa: E402
from mct.distillation.folder import RunFolder  # noqa: E402
from mct.distillation.loop import distill  # noqa: E402
from mct.errors import ConfigError, DivergedError, MismatchError  # noqa: E402
from mct.inner.horizon import steps_of  # noqa: E402
from mct.inner.problem import minibatches  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from tests.helpers.distilling import CONFIG, PROTOCOL, Rehearsed, StubEngine, distiller_of  # noqa: E402
from tests.helpers.fakes import (  # noqa: E402
    FakeBundle,
    written,
)


def test_one_vector_of_weights_per_outer_step(bundle, digits, model) -> None:
    """The interpolator hands out the start weights; no other waypoint is ever made."""
    distiller = distiller_of(bundle, digits, model)
    state = distiller.initial()
    assert distiller.stream.materialised == 0
    for number in range(1, 6):
        state, _ = distiller.step(state)
        assert distiller.stream.materialised == number


def test_step_does_not_change_its_state(bundle, digits, model) -> None:
    """A step is a function: twice from one state gives the same bits."""
    distiller = distiller_of(bundle, digits, model)
    state = distiller.initial()
    (one, first), (two, second) = distiller.step(state), distiller.step(state)
    assert torch.equal(one.synthetic.images, two.synthetic.images)
    assert replace(first, seconds=0) == replace(second, seconds=0)
    assert not torch.equal(one.synthetic.images, state.synthetic.images)


def test_full_bundle_is_distilled_by_the_same_code(bundle, digits, model) -> None:
    """On a full bundle the run is MTT's: whole starts, stored targets."""
    full = FakeBundle([item.theta for item in bundle._items], bundle.layout, knots=None)
    distiller = distiller_of(full, digits, model)
    _, event = distiller.step(distiller.initial())
    assert event.start == int(event.start)
    assert np.isfinite(event.loss)


def test_the_first_trajectories_alone_can_be_used(bundle, digits, model) -> None:
    """A step is that of a bundle which holds no others, with the same random numbers."""
    thetas = [bundle._items[0].theta + 0.01 * number for number in range(3)]
    many, alone = (FakeBundle(some, bundle.layout) for some in (thetas, thetas[:1]))
    config = replace(CONFIG, trajectories=1)
    one, two = (distiller_of(each, digits, model, config) for each in (many, alone))
    (after, _), (expected, _) = one.step(one.initial()), two.step(two.initial())
    assert torch.equal(after.synthetic.images, expected.synthetic.images)


def test_real_images_take_part_and_stay_as_they_are(bundle, digits, model) -> None:
    """The first ones of each class are in the batches, and keep every bit; the others are learned."""
    config = replace(CONFIG, ipc=3, learned_share=0.4, image_average=0.5)
    engine = StubEngine()
    distiller = distiller_of(bundle, digits, model, config, unroll=engine)
    before = distiller.initial()
    after, _ = distiller.step(before)
    batches = torch.cat(list(engine.problem.batches))
    assert bool((batches % 3 < 2).any())
    same = [bool(torch.equal(*pair)) for pair in zip(before.result.images, after.result.images, strict=True)]
    assert same == [True, True, False] * 10


def test_augmentation_is_drawn_for_every_batch(bundle, digits, model) -> None:
    """Each inner step has numbers of its own, from the generator of the state, after the batches."""
    engine = StubEngine()
    distiller = distiller_of(bundle, digits, model, unroll=engine)
    state = distiller.initial()
    distiller.step(state)
    random = torch.Generator()
    random.set_state(state.random)
    distiller.stream.draw(random)
    batches = minibatches(10, 4, 3, random)
    for batch, draws, found in zip(batches, engine.problem.draws, engine.problem.batches, strict=True):
        expected = DSA().draw(len(batch), 8, random)
        assert torch.equal(batch, found)
        assert draws.family == expected.family
        assert all(torch.equal(a, b) for a, b in zip(draws.values, expected.values, strict=True))
    plain = StubEngine()
    other = distiller_of(bundle, digits, model, replace(CONFIG, augment="none"), unroll=plain)
    other.step(other.initial())
    assert plain.problem.augment is plain.problem.draws is None


def test_number_of_inner_steps_is_drawn_beside_the_other_draws(bundle, digits, model) -> None:
    """The event has it, the window goes to the inner loop, and everything else is drawn as with a fixed
    number."""
    config = replace(CONFIG, inner_steps=9, min_steps=2, window=2, batch_syn=None, augment="none")
    engine, fixed = StubEngine(), StubEngine()
    distiller = distiller_of(bundle, digits, model, config, unroll=engine)
    other = distiller_of(bundle, digits, model, replace(config, min_steps=None), unroll=fixed)
    state, twin, lengths = distiller.initial(), other.initial(), []
    for number in range(4):
        _, event = distiller.step(state)
        _, same = other.step(twin)
        assert (len(engine.problem.batches), engine.problem.window) == (event.inner_steps, 2)
        assert event.inner_steps == steps_of(config, number, 0)
        assert (len(fixed.problem.batches), same.inner_steps) == (9, None)
        assert (event.trajectory, event.start) == (same.trajectory, same.start)
        lengths.append(event.inner_steps)
        run = replace(state.synthetic.run, outer_step=number + 1)
        state = replace(state, synthetic=replace(state.synthetic, origin=run))
        twin = replace(twin, synthetic=replace(twin.synthetic, origin=run))
    assert len(set(lengths)) > 1


def test_teacher_labels_are_what_the_expert_at_the_target_says(bundle, digits, model) -> None:
    """Softmax of the network with the target's weights, made for this alone, on the images before."""
    engine = StubEngine()
    distiller = distiller_of(bundle, digits, model, replace(CONFIG, labels="teacher"), unroll=engine)
    before = distiller.initial()
    assert before.synthetic.soft_labels is None
    after, event = distiller.step(before)
    assert distiller.stream.materialised == 2
    network = networks.build(model, generator=generator(0)).eval()
    weights = torch.from_numpy(bundle[event.trajectory].at(event.target)).float()
    torch.nn.utils.vector_to_parameters(weights, network.parameters())
    expected = network(before.synthetic.images).softmax(1)
    assert torch.allclose(after.synthetic.soft_labels, expected, atol=1e-6)
    assert torch.equal(engine.problem.targets, after.synthetic.soft_labels)
    assert torch.equal(after.synthetic.labels, before.synthetic.labels)
    assert not after.synthetic.soft_labels.requires_grad


def test_bundle_of_another_network_is_refused(bundle, digits) -> None:
    """The first parameter that differs is named before anything is computed."""
    other = networks.parse("ConvNetD2W8", channels=1, image_size=8, classes=10)
    with pytest.raises(MismatchError, match="parameter 0"):
        distiller_of(bundle, digits, other)


def test_held_out_images_are_not_learned_from(bundle, digits, model) -> None:
    """Initial images come from the other training images; with `select` test, from all."""
    kept = digits.heldout().test_images.flatten(1)

    def initial(select: str):
        config = replace(CONFIG, ipc=100, select=select, batch_syn=None)
        return distiller_of(bundle, digits, model, config).initial().synthetic.images.flatten(1)

    assert float(torch.cdist(initial("heldout"), kept).min()) > 0
    assert float(torch.cdist(initial("test"), kept).min()) == 0


def test_augmentation_that_does_not_exist_is_refused_at_once(tmp_path: Path, bundle, digits, model) -> None:
    """That of the run as well as that of its evaluations."""
    with pytest.raises(ConfigError, match="`augment`"):
        distiller_of(bundle, digits, model, replace(CONFIG, augment="mirror"))
    wrong = replace(PROTOCOL, augment="mirror")
    with pytest.raises(ConfigError, match="`augment`"):
        next(distill(distiller_of(bundle, digits, model), RunFolder(tmp_path / "run"), evaluation=wrong))
    assert not (tmp_path / "run").exists()


def test_whitening_of_another_data_set_is_refused(tmp_path: Path, bundle, digits, model) -> None:
    """A bundle whose experts saw other images does not get as far as a step."""
    other = trajfmt.Preprocessing(kind="zca", eps=0.1, images_sha256="00" * 32)
    with (
        trajfmt.open(written(tmp_path, bundle, digits, model, preprocessing=other)) as opened,
        pytest.raises(MismatchError, match="the dataset that the experts saw"),
    ):
        Distiller.from_bundle(opened, base=CONFIG)


def test_student_learns_to_follow_a_path_it_can_follow(digits, model) -> None:
    """Where a trajectory comes from ten images, distillation lowers eq. 2 well below 1."""
    random = generator(0)
    network = networks.build(model, generator=random)
    chosen = pick_per_class(digits.train_labels, 10, 1, random)
    optimizer, theta = torch.optim.SGD(network.parameters(), lr=0.02), [networks.flatten(network)]
    for _ in range(6):
        for _ in range(3):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(
                network(digits.train_images[chosen]), digits.train_labels[chosen]
            ).backward()
            optimizer.step()
        theta.append(networks.flatten(network))
    layout = trajfmt.ParamLayout.of(networks.parameters_of(network))
    bundle = FakeBundle([torch.stack(theta).numpy()], layout)
    config = replace(CONFIG, inner_steps=6, outer_steps=40, lr_img=100, batch_syn=None, augment="none")
    distiller = distiller_of(bundle, digits, model, config)
    state, losses = distiller.initial(), []
    for _ in range(40):
        state, event = distiller.step(state)
        losses.append(event.loss)
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


LEARNED = replace(CONFIG, labels="learned", lr_label=3.0, label_momentum=0.5)


def test_labels_are_learned_as_logits(bundle, digits, model) -> None:
    """y <- y - lr v with v <- mu v + g; g goes through the softmax; the images' classes stay."""
    distiller = distiller_of(bundle, digits, model, LEARNED)
    state = distiller.initial()
    logits, velocity = state.synthetic.label_logits, torch.zeros(10, 10)
    for _ in range(3):
        before = state
        state, _ = distiller.step(state)
        random = torch.Generator()
        random.set_state(before.random)
        found, _ = distiller._samples.mean(
            before.synthetic, distiller._samples.draw(before.synthetic, random)
        )
        leaf = logits.clone().requires_grad_()
        (slope,) = torch.autograd.grad(leaf.softmax(1), leaf, found.targets)
        velocity = 0.5 * velocity + slope
        logits = logits - 3.0 * velocity
        torch.testing.assert_close(state.synthetic.label_logits, logits, rtol=1e-4, atol=1e-6)
        logits, velocity = state.synthetic.label_logits, state.memory["labels"]["velocity"]
    assert torch.equal(state.synthetic.soft_labels, logits.softmax(1))
    assert torch.equal(state.synthetic.labels, torch.arange(10))
    assert not torch.equal(state.synthetic.label_logits, distiller.initial().synthetic.label_logits)


def test_a_step_without_an_accepted_sample_changes_nothing(bundle, digits, model) -> None:
    """Values, velocities and averages keep their bits; the step counts, and says so."""
    distiller = distiller_of(bundle, digits, model, replace(LEARNED, image_average=0.5))
    moving, _ = distiller.step(distiller.initial())
    refusing = distiller_of(bundle, digits, model, replace(LEARNED, image_average=0.5, loss_threshold=1e-3))
    after, event = refusing.step(moving)
    assert event.refused
    assert (after.step, after.refused) == (2, 1)
    for name, value in moving.synthetic.values.items():
        assert torch.equal(torch.as_tensor(after.synthetic.values[name]), torch.as_tensor(value)), name
        for part, kept in moving.memory[name].items():
            assert torch.equal(torch.as_tensor(after.memory[name][part]), torch.as_tensor(kept)), (name, part)


def test_samples_above_the_threshold_are_left_out_of_the_mean(bundle, digits, model) -> None:
    """The gradients are the mean of the others; the loss is that of all."""
    config = replace(LEARNED, samples=4, sampling="continuous")
    plain = distiller_of(bundle, digits, model, config)
    state, random = plain.initial(), torch.Generator()
    random.set_state(plain.initial().random)
    draws = plain._samples.draw(state.synthetic, random)
    each = [plain._samples.mean(state.synthetic, [draw])[0] for draw in draws]
    losses = sorted(found.loss for found in each)
    between = (losses[1] + losses[2]) / 2
    strict = distiller_of(bundle, digits, model, replace(config, loss_threshold=between))
    found, _ = strict._samples.mean(state.synthetic, draws)
    kept = [one for one in each if one.loss <= between]
    assert len(kept) == 2
    assert found.loss == pytest.approx(sum(losses) / 4)
    torch.testing.assert_close(found.images, (kept[0].images + kept[1].images) / 2)
    torch.testing.assert_close(found.targets, (kept[0].targets + kept[1].targets) / 2)
    assert found.learning_rate == pytest.approx((kept[0].learning_rate + kept[1].learning_rate) / 2)


def test_average_is_what_is_evaluated_and_results(bundle, digits, model, monkeypatch) -> None:
    """The step goes on from the images themselves."""
    distiller = distiller_of(bundle, digits, model, replace(CONFIG, image_average=0.5))
    plain = distiller_of(bundle, digits, model)
    state, other, average = distiller.initial(), plain.initial(), plain.initial().synthetic.images
    for _ in range(3):
        (state, _), (other, _) = distiller.step(state), plain.step(other)
        average = 0.5 * average + 0.5 * other.synthetic.images
        assert torch.equal(state.synthetic.images, other.synthetic.images)
    assert torch.equal(state.result.images, average)
    seen = Rehearsed([0.5])
    monkeypatch.setattr("mct.distillation.judging.evaluate", seen)
    state, _ = distiller.evaluate_and_keep_best(state, PROTOCOL)
    assert torch.equal(seen.seen[0][0], average)
    assert torch.equal(state.best.images, average)


def test_run_that_learns_nothing_ends_and_refused_steps_are_told(bundle, digits, model, monkeypatch) -> None:
    """An error if no step of many has changed anything; else a note at the end with their number."""
    strict = replace(CONFIG, loss_threshold=1e-3, outer_steps=3)
    distiller = distiller_of(bundle, digits, model, strict)
    state = distiller.initial()
    for _ in range(2):
        state, _ = distiller.step(state)
    with pytest.raises(
        DivergedError, match="none of 3 outer steps has changed anything, because the loss of every"
    ):
        distiller.step(state)
    monkeypatch.setattr("mct.distillation.guards._HOPELESS", 2)
    with pytest.raises(DivergedError, match="none of 2 outer steps"):
        distiller.step(distiller.step(distiller.initial())[0])
    mixed = distiller_of(bundle, digits, model, replace(CONFIG, loss_threshold=1e9, outer_steps=2))
    state, _ = mixed.step(mixed.initial())
    mixed._samples._config = strict
    assert not any("changed nothing" in note for note in mixed.notes)
    mixed.step(state)
    assert any(
        "1 of 2 outer steps changed nothing, because the loss of every sample" in n for n in mixed.notes
    )
