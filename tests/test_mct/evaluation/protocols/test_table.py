"""Every protocol that settings may name is in the table, and the commands offer it."""

from typing import get_args

import pytest

pytest.importorskip("torch")
import torch

import trajfmt
from cli.distill import distill
from cli.images import evaluate as evaluate_command
from mct.data.datasets import Dataset
from mct.evaluation import protocol
from mct.evaluation.protocols.table import PROTOCOLS
from mct.settings import config
from tests.helpers.generators import drain


def test_settings_commands_and_table_agree() -> None:
    """The commands cannot read the table, which takes long to import."""
    names = set(get_args(config.Protocol))
    assert set(PROTOCOLS) == names
    offered = {
        option.name: option.type for command in (distill, evaluate_command) for option in command.params
    }
    assert set(offered["eval_protocol"].choices) == names
    assert set(offered["protocol"].choices) == names | {"dd-ranking"}


class Twice:
    """MTT's protocol with a test after every update, of which the second counts."""

    joint = 0
    rate = None

    def plan(self, material, model, config):
        """Return MTT's plan, with a test after every update."""
        plan = PROTOCOLS["mtt"].plan(material, model, config)
        run = plan.run
        plan.run = lambda learner, random: (True for _ in run(learner, random))
        return plan

    def counting(self, accuracies):
        """Return the number of the second test."""
        assert len(accuracies) == 4
        return 1


def test_a_protocol_decides_when_networks_are_tested(
    digits: Dataset, model: trajfmt.Model, monkeypatch
) -> None:
    """The accuracy after the second of four updates is that of a plain training of two updates."""
    images, labels = digits.train_images[:20], digits.train_labels[:20]
    monkeypatch.setattr(protocol, "PROTOCOLS", {"mtt": Twice()})
    four = config.EvaluateConfig(networks=1, epochs=3, augment="none")
    _, found = drain(protocol.evaluate(images, labels, 0.05, digits, model, four))
    monkeypatch.undo()
    two = config.EvaluateConfig(networks=1, epochs=1, augment="none")
    _, plain = drain(protocol.evaluate(images, labels, 0.05, digits, model, two))
    assert found.networks == plain.networks
    assert torch.isfinite(torch.tensor(found.mean))
