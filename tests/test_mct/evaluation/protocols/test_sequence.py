"""The protocol `sequence`: MTT's on one stage after the other."""

import pytest

torch = pytest.importorskip("torch")
import trajfmt  # noqa: E402
from mct.data.datasets import Dataset  # noqa: E402
from mct.evaluation.protocols.sequence import Sequenced  # noqa: E402
from mct.models import networks  # noqa: E402
from mct.results.stages import Stage  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from tests.test_mct.evaluation.protocols.test_mtt import CONFIG, heard, material  # noqa: E402


def test_networks_go_on_from_stage_to_stage(digits: Dataset, model: trajfmt.Model) -> None:
    """It is a plain loop, bit for bit: every stage has its images, its rate, and a new optimizer."""
    rows, rates = [torch.arange(0, 20, 2), torch.arange(20)], [0.1, 0.05]
    given = material(digits, 0.05, stages=tuple(map(Stage, rows, rates)))
    random, network = generator(3), networks.build(model, generator=generator(2))
    for these, rate in zip(rows, rates, strict=True):
        optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4)
        for epoch in range(CONFIG.epochs + 1):
            for batch in torch.randperm(len(these), generator=random).split(CONFIG.batch_size):
                own = these[batch]
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(network(given.images[own]), given.labels[own]).backward()
                optimizer.step()
            if epoch == CONFIG.epochs // 2 + 1:
                optimizer = torch.optim.SGD(
                    network.parameters(), lr=rate * 0.1, momentum=0.9, weight_decay=5e-4
                )
    plan = Sequenced().plan(given, model, CONFIG)
    (learner,) = plan.learners(
        [networks.build(model, generator=generator(2)).train()], model, engine="eager", notes=None
    )
    tests = list(plan.run(learner, generator(3)))
    assert torch.equal(networks.flatten(learner.network()), networks.flatten(network))
    assert tests == [False] * (plan.updates - 1) + [True]


def test_without_stages_it_is_the_protocol_of_mtt(digits: Dataset, model: trajfmt.Model) -> None:
    """All images are learned from together."""
    told, _ = heard(Sequenced().plan(material(digits), model, CONFIG))
    staged = material(digits, stages=(Stage(torch.arange(20), 0.5),))
    once, _ = heard(Sequenced().plan(staged, model, CONFIG))
    assert all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(told, once, strict=True))
