"""Training experts in several processes.

Training is divided into rounds. In a round, every process trains a few experts. Then all processes send the
recorded data of their experts (knots and step norms, or all timesteps) to rank 0, which stores the experts in
the order of their numbers. An expert does not depend on the process that trains it.
"""

import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch

from mct.events import ExpertDone, ExpertEpoch
from mct.experts.recording import BufferStore, BundleStore, ExpertRecorder, ready
from mct.runtime.ranks import Ranks
from mct.settings.config import ExpertConfig

Train = Callable[[ExpertConfig, "Turn"], Iterator[ExpertEpoch | ExpertDone]]
"""Trains the experts with the numbers from `store.finished` to `config.experts - 1`."""


class Turn:
    """The store of one process for one round, which keeps recorded experts in memory.

    Args:
        first: Number of the first expert of this process in this round.
        recorder: Creates an empty recorder for an expert.
    """

    def __init__(self, first: int, recorder: Callable[[], ExpertRecorder]) -> None:
        self.finished, self.recorder = first, recorder
        self.recorders: list[ExpertRecorder] = []

    def keep(self, recorder: ExpertRecorder) -> None:
        """Keep a recorded expert in memory."""
        self.recorders.append(recorder)


def train_distributed(
    config: ExpertConfig,
    store: BundleStore | BufferStore | None,
    *,
    train: Train,
    recorder: Callable[[], ExpertRecorder],
    ranks: Ranks,
    at_once: int = 1,
) -> Iterator[ExpertEpoch | ExpertDone]:
    """Train the experts that are not yet in the store of rank 0. All processes must make this call.

    Args:
        config: Settings of expert training.
        store: The store of rank 0; None in the other processes.
        train: Trains experts in this process.
        recorder: Creates an empty recorder for an expert.
        ranks: The processes.
        at_once: Number of experts of each process in a round.

    Yields:
        The epochs of the experts of this process. Rank 0 also yields the end of every expert, in order.

    Raises:
        RankError: If another process died or failed. The experts of earlier rounds are stored.
    """
    finished = torch.zeros(1, dtype=torch.int64)
    finished += store.finished if store is not None else 0
    ranks.sum(finished)
    for first in range(int(finished), config.experts, ranks.size * at_once):
        begin = first + ranks.rank * at_once
        turn, done = Turn(begin, recorder), list[ExpertDone]()
        for event in train(replace(config, experts=min(begin + at_once, config.experts)), turn):
            if isinstance(event, ExpertDone):
                done.append(event)
            else:
                yield event
        for ends, kept in _handed(ranks, done, turn.recorders):
            if store is not None:
                for each in kept:
                    store.keep(each)
                yield from ends


def _handed(
    ranks: Ranks, done: list[ExpertDone], recorders: list[ExpertRecorder]
) -> Iterator[tuple[Any, Any]]:
    """Send the experts of a round to rank 0.

    Args:
        ranks: The processes.
        done: The events of the experts of this process.
        recorders: The recorded experts of this process.

    Yields:
        In rank 0, the events and the recorded experts of each process, in the order of ranks.
    """
    data = b"" if ranks.rank == 0 else pickle.dumps((done, [ready(recorder) for recorder in recorders]))
    sizes = torch.zeros(ranks.size, dtype=torch.int64)
    sizes[ranks.rank] = len(data)
    ranks.sum(sizes)
    if ranks.rank == 0:
        yield done, recorders
    for rank in range(1, ranks.size):
        values = torch.zeros(int(sizes[rank]), dtype=torch.uint8)
        if rank == ranks.rank:
            values.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        ranks.sum(values)  # all other processes contribute zeros, so the sum is the data of `rank`
        if ranks.rank == 0:
            yield pickle.loads(values.numpy().data)
