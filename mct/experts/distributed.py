"""Experts spread over the processes of a run: each trains some, process 0 keeps all of them in order.

Processes take turns of a few experts each. After a turn the others hand process 0 what it keeps of an expert,
its knots and step norms or all its timesteps; which process trained it changes nothing about it.
"""

import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch

from mct.events import ExpertDone, ExpertEpoch
from mct.experts.recording import BufferStore, BundleStore, Tape, ready
from mct.runtime.ranks import Ranks
from mct.settings.config import ExpertConfig

Train = Callable[[ExpertConfig, "Turn"], Iterator[ExpertEpoch | ExpertDone]]
"""Trains the experts from `finished` of the store on, up to `experts` of the settings."""


class Turn:
    """The store of one turn: keeps tapes in memory.

    Args:
        first: Number of the first expert.
        tape: Makes an empty tape.
    """

    def __init__(self, first: int, tape: Callable[[], Tape]) -> None:
        self.finished, self.tape = first, tape
        self.tapes: list[Tape] = []

    def keep(self, tape: Tape) -> None:
        """Keep the expert on a tape."""
        self.tapes.append(tape)


def train_shared(
    config: ExpertConfig,
    store: BundleStore | BufferStore | None,
    *,
    train: Train,
    tape: Callable[[], Tape],
    ranks: Ranks,
    at_once: int = 1,
) -> Iterator[ExpertEpoch | ExpertDone]:
    """Train the experts that process 0's store does not have yet; every process makes this call.

    Yields the epochs of this process's experts; in process 0 also the end of every expert, in order.

    Args:
        config: The recipe.
        store: Of process 0; None in the others.
        train: Trains some experts in this process.
        tape: Makes an empty tape for an expert.
        ranks: The processes.
        at_once: Experts of a turn, in each process.

    Raises:
        RankError: Another process has died or failed; the turns before are kept.
    """
    finished = torch.zeros(1, dtype=torch.int64)
    finished += store.finished if store is not None else 0
    ranks.sum(finished)
    for first in range(int(finished), config.experts, ranks.size * at_once):
        begin = first + ranks.rank * at_once
        turn, done = Turn(begin, tape), list[ExpertDone]()
        for event in train(replace(config, experts=min(begin + at_once, config.experts)), turn):
            if isinstance(event, ExpertDone):
                done.append(event)
            else:
                yield event
        for ends, kept in _handed(ranks, done, turn.tapes):
            if store is not None:
                for each in kept:
                    store.keep(each)
                yield from ends


def _handed(ranks: Ranks, done: list[ExpertDone], tapes: list[Tape]) -> Iterator[tuple[Any, Any]]:
    """Yield, in process 0, what every process has: its own first, then the others' in order of rank."""
    data = b"" if ranks.rank == 0 else pickle.dumps((done, [ready(tape) for tape in tapes]))
    sizes = torch.zeros(ranks.size, dtype=torch.int64)
    sizes[ranks.rank] = len(data)
    ranks.sum(sizes)
    if ranks.rank == 0:
        yield done, tapes
    for rank in range(1, ranks.size):
        values = torch.zeros(int(sizes[rank]), dtype=torch.uint8)
        if rank == ranks.rank:
            values.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        ranks.sum(values)  # of nothing and one process's bytes: those bytes
        if ranks.rank == 0:
            yield pickle.loads(values.numpy().data)
