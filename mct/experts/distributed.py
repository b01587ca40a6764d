"""Training of experts distributed over the processes of a run; process 0 stores all of them in order.

The processes train in turns, a few experts each. After a turn the other processes send process 0 what it
stores of each expert: knots and step norms, or all timesteps. An expert does not depend on the process that
trained it.
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
    """The store of one turn, which keeps recorders in memory.

    Args:
        first: Number of the first expert.
        recorder: Makes an empty recorder.
    """

    def __init__(self, first: int, recorder: Callable[[], ExpertRecorder]) -> None:
        self.finished, self.recorder = first, recorder
        self.recorders: list[ExpertRecorder] = []

    def keep(self, recorder: ExpertRecorder) -> None:
        """Keep a recorded expert."""
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
    """Train the experts that the store of process 0 does not have yet; every process makes this call.

    Yields the epochs of this process's experts, and in process 0 the end of every expert, in order.

    Args:
        config: The recipe.
        store: The store in process 0; None in the others.
        train: Trains some experts in this process.
        recorder: Makes an empty recorder for an expert.
        ranks: The processes.
        at_once: Experts that each process trains in one turn.

    Raises:
        RankError: Another process has died or failed; the experts of earlier turns are stored.
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
    """Yield the events and experts of every process in process 0, in order of rank."""
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
