"""Small experts, kept in memory."""

import numpy as np

import trajfmt
from mct.data.datasets import Dataset
from mct.experts import train
from mct.experts.recording import TimestepRecorder
from mct.settings.expert import ExpertConfig

CONFIG = ExpertConfig(experts=2, epochs=3, lr=0.05, batch_size=500, augment="none")


class Kept:
    """Keeps trajectories in memory."""

    def __init__(self) -> None:
        self.theta: list[np.ndarray] = []

    @property
    def finished(self) -> int:
        """Return how many."""
        return len(self.theta)

    def recorder(self) -> TimestepRecorder:
        """Return an empty recorder."""
        return TimestepRecorder()

    def keep(self, recorder: TimestepRecorder) -> None:
        """Keep a recorder."""
        self.theta.append(np.stack(recorder.rows))


def trained(dataset: Dataset, model: trajfmt.Model, config: ExpertConfig = CONFIG):
    """Return events and trajectories."""
    store = Kept()
    return list(train.train_experts(dataset, model, config, store)), store.theta
