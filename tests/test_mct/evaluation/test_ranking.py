"""DD-Ranking's protocol: what is trained on what, with which labels and learning rates."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from mct.data.datasets import Dataset  # noqa: E402
from mct.errors import ConfigError  # noqa: E402
from mct.evaluation import ranking  # noqa: E402
from mct.evaluation.comparison import Comparison  # noqa: E402
from mct.evaluation.ranking import Ranked, Ranking  # noqa: E402
from mct.evaluation.reference import Reference  # noqa: E402
from mct.evaluation.scores import scores_of  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.results.origin import ForeignOrigin  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.settings.config import EvaluateConfig  # noqa: E402
from mct.settings.ranking import RankingConfig, ReferenceConfig  # noqa: E402
from tests.helpers.generators import drain  # noqa: E402
from tests.helpers.made import made  # noqa: E402
from tests.helpers.threads import in_ranks  # noqa: E402

RATES = (0.01, 0.05)


@pytest.fixture
def small(digits: Dataset) -> Dataset:
    """Return digits with few test images."""
    return replace(digits, test_images=digits.test_images[:40], test_labels=digits.test_labels[:40])


@pytest.fixture
def teacher(model) -> Reference:
    """Return an untrained network as the reference."""
    network = networks.build(model, generator=generator(9)).eval().requires_grad_(False)
    return Reference(network=network, accuracy=0.75, config=ReferenceConfig())


def job(data: Dataset, model, *, soft: bool, baseline: bool = True, ranks=None, **settings) -> Ranking:
    """Return two real digits of each class as a set, with two learning rates to search."""
    start = made(data)
    if soft:
        rows = torch.rand(20, 10, generator=generator(2)).softmax(1)
        start = replace(start, soft_labels=rows)
    more = {} if ranks is None else {"ranks": ranks}
    comparison = Comparison(synthetic=start, dataset=data, model=model, config=EvaluateConfig(), **more)
    config = RankingConfig(**{"runs": 1, "epochs": 1, "rates": RATES, "augment": "flip"} | settings)
    return Ranking(comparison=comparison, config=config, baseline=baseline)


def watched(work: Ranking, reference: Reference, monkeypatch) -> list[tuple]:
    """Return what each network was trained on, with an accuracy that is its number in percent."""
    seen: list[tuple] = []

    def trained(student, images, labels, *_, rate, augment, test_every, **__):
        distilled = torch.equal(images, work.comparison.synthetic.images)
        kind = "taught" if student._teacher is not None else "rows" if labels.dim() == 2 else "classes"
        loss = "hard" if student._loss is ranking.hard_loss else "soft"
        seen.append(("distilled" if distilled else "random", kind, loss, augment, rate, test_every))
        return len(seen) / 100

    monkeypatch.setattr(ranking, "best_accuracy", trained)
    events, found = drain(work.evaluate(reference))
    assert len(events) == len(seen) == work.total
    return [*seen, found]


def test_a_set_with_hard_labels(small: Dataset, model, teacher: Reference, monkeypatch) -> None:
    """The set is trained with its learning rate, random images with each; with and without augmentation."""
    *seen, found = watched(job(small, model, soft=False), teacher, monkeypatch)
    own = job(small, model, soft=False).comparison.synthetic.learning_rate
    assert seen == [
        (what, "classes", "hard", augment, rate, 10)
        for augment in (True, False)
        for what, rate in (("distilled", own), ("random", RATES[0]), ("random", RATES[1]))
    ]
    (run,) = found.runs
    assert (run.real, run.hard, run.own, run.random, run.random_hard) == (0.75, 0.01, 0.01, 0.03, 0.03)
    assert (run.plain, run.random_plain) == (0.04, 0.06)
    assert found.mean == scores_of(run, 0.5)


@pytest.mark.parametrize(("labels", "kind"), [("auto", "rows"), ("teacher", "taught")])
def test_a_set_with_soft_labels(small: Dataset, model, teacher: Reference, monkeypatch, labels, kind) -> None:
    """Hard labels are searched without augmentation; random images get labels of the same kind."""
    work = job(small, model, soft=True, labels=labels)
    *seen, found = watched(work, teacher, monkeypatch)
    own = work.comparison.synthetic.learning_rate
    both = [("distilled", own), ("random", RATES[0]), ("random", RATES[1])]
    assert seen == [
        *((what, kind, "soft", augment, rate, 20) for augment in (True, False) for what, rate in both),
        *((what, "classes", "hard", False, rate, 20) for what in ("distilled", "random") for rate in RATES),
    ]
    (run,) = found.runs
    assert (run.hard, run.random_hard) == (0.08, 0.10)
    *seen, found = watched(job(small, model, soft=True, baseline=False), teacher, monkeypatch)
    assert found.runs[0].random_hard is None


def test_labels_of_random_images_are_the_teachers(small: Dataset, model, teacher, monkeypatch) -> None:
    """They are its logits for these images, of which every run draws others."""
    seen = []
    monkeypatch.setattr(
        ranking,
        "best_accuracy",
        lambda _student, images, labels, *_, **__: seen.append((images, labels)) or 0.0,
    )
    work = job(small, model, soft=True, runs=2, rates=(0.1,))
    drain(work.evaluate(teacher))
    soft = work.comparison.synthetic.soft_labels
    assert torch.allclose(seen[0][1].softmax(1), soft, atol=1e-6)
    for images, labels in (seen[1], seen[7]):
        assert torch.equal(labels, teacher.logits(images))
    assert not torch.equal(seen[1][0], seen[7][0])


def test_classes_of_a_set_with_soft_labels(small: Dataset, model) -> None:
    """Files of another codebase are taken as sorted by class; ours state the classes."""
    work = job(small, model, soft=True)
    now = work.comparison.synthetic
    foreign = ForeignOrigin(
        dataset="digits", class_names=small.class_names, preprocessing=small.transform.record, model=model,
        layout="datm", files=(), labels="logits", known_from={},
    )  # fmt: skip
    most = now.soft_labels.argmax(1)
    for origin, labels, expected in (
        (now.origin, now.labels, now.labels),
        (foreign, most, torch.arange(10).repeat_interleave(2)),
    ):
        synthetic = replace(now, origin=origin, labels=labels)
        found = replace(work, comparison=replace(work.comparison, synthetic=synthetic)).classes
        assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("soft", "settings", "message"),
    [
        (False, {"labels": "soft"}, "`labels` is soft, but the set has class numbers only"),
        (True, {"loss": "mse_gt"}, "the loss `mse_gt` compares logits"),
        (False, {"augment": "mirror"}, "`augment`"),
    ],
)
def test_settings_that_do_not_fit_are_refused(small: Dataset, model, soft, settings, message) -> None:
    """Before any network is trained, with the option to give."""
    with pytest.raises(ConfigError, match=message):
        job(small, model, soft=soft, **settings)


def test_runs_of_several_processes_are_those_of_one(small: Dataset, model, teacher: Reference) -> None:
    """Each process does some runs, and all know all scores; a seed gives them again."""

    def work(ranks) -> Ranked:
        return drain(
            job(small, model, soft=False, runs=3, epochs=4, rates=(0.05,), ranks=ranks).evaluate(teacher)
        )[1]

    (alone,), shared = in_ranks(work, 1), in_ranks(work, 2)
    assert shared == [alone, alone]
    assert len({(run.own, run.random, run.plain, run.random_plain) for run in alone.runs}) == 3
