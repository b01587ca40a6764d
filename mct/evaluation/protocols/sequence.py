"""The protocol `sequence`: the protocol `mtt` on one subset of the images after the other.

The network that has learned from one subset goes on with the next, with a new optimizer and the learning rate
that was learned for it. A set of images without stages is evaluated as by `mtt`.

References:
    SeqMatch's `evaluation.py`, whose subsets are the unions of the first stages; PTM-ST's `src/epoch.py`:
    `evaluate_synset_PTM`, whose subsets are the stages themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import trajfmt
from mct.evaluation.protocols.mtt import Passes
from mct.evaluation.protocols.protocol import Material
from mct.results.stages import Stage
from mct.settings.config import EvaluateConfig


@dataclass(frozen=True, slots=True)
class Sequenced:
    """MTT's protocol on each stage in turn."""

    joint = 0
    rate = None

    def plan(self, material: Material, model: trajfmt.Model, config: EvaluateConfig) -> Passes:
        """Return passes over the images of each stage."""
        parts = [_part(material, stage) for stage in material.stages]
        return Passes(parts or [material], model, config)

    def counting(self, accuracies: Sequence[float]) -> int:
        """Return the number of the last test."""
        return len(accuracies) - 1


def _part(material: Material, stage: Stage) -> Material:
    rows = stage.rows.to(material.images.device)
    images, labels = material.images[rows], material.labels[rows]
    return replace(material, images=images, labels=labels, learning_rate=stage.learning_rate, stages=())
