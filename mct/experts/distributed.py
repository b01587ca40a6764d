"""Training experts in several processes.

Into one bundle, training is divided into rounds. In a round, every process trains a few experts. Then all
processes send the recorded data of their experts (knots and step norms, or all timesteps) to rank 0, which
stores the experts in the order of their numbers. Into parts, every process stores its own experts. An expert
does not depend on the process that trains it.
"""

import pickle
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch

from mct.errors import ExistsError, RankError
from mct.events import ExpertDone, ExpertsFound
from mct.experts.parts import PartGroup, Parts
from mct.experts.pupil import Keeping
from mct.experts.recording import BufferStore, BundleStore, ExpertRecorder, ready
from mct.experts.states import ExpertFile
from mct.experts.train import Event, Store
from mct.runtime.ranks import Ranks, from_first
from mct.settings.expert import ExpertConfig


class Train(Protocol):
    """Trains the experts with some numbers, see `mct.experts.train.train_experts`."""

    def __call__(
        self,
        config: ExpertConfig,
        store: Store,
        /,
        *,
        numbers: Sequence[int],
        keeping: Callable[[int], Keeping] | None,
    ) -> Iterator[Event]:
        """Train experts, and keep them in a store."""
        ...


class Turn:
    """The store of one process for one round, which keeps recorded experts in memory.

    Args:
        recorder: Creates an empty recorder for an expert.
    """

    finished = 0

    def __init__(self, recorder: Callable[[], ExpertRecorder]) -> None:
        self.recorder = recorder
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
    file: Callable[[int], ExpertFile],
    save_every: float | None,
    ranks: Ranks,
    at_once: int = 1,
) -> Iterator[Event]:
    """Train the experts that are not yet in the store of rank 0. All processes must make this call.

    Args:
        config: Settings of expert training.
        store: The store of rank 0; None in the other processes.
        train: Trains experts in this process.
        recorder: Creates an empty recorder for an expert.
        file: Returns the files of the state of an expert in training. Rank 0 removes them when it has stored
            the expert, so they must be the same for all processes.
        save_every: Seconds of training after which a state is saved; None: never.
        ranks: The processes.
        at_once: Number of experts of each process in a round.

    Yields:
        The epochs of the experts of this process. Rank 0 also yields the end of every expert, in order.

    Raises:
        RankError: If another process died or failed. The experts of earlier rounds are stored.
    """
    (finished,) = from_first(ranks, [store.finished if store is not None else 0])
    for first in range(finished, config.experts, ranks.size * at_once):
        begin = first + ranks.rank * at_once
        numbers = range(begin, max(begin, min(begin + at_once, config.experts)))
        turn, done = Turn(recorder), list[ExpertDone]()
        for event in train(config, turn, numbers=numbers, keeping=_keeping(file, save_every)):
            if isinstance(event, ExpertDone):
                done.append(event)
            else:
                yield event
        for ends, kept in _handed(ranks, done, turn.recorders):
            if store is not None:
                for each, end in zip(kept, ends, strict=True):
                    store.keep(each)
                    file(end.expert).remove()
                yield from ends


def train_parts(
    config: ExpertConfig,
    parts: Parts,
    numbers: Sequence[int],
    *,
    train: Train,
    save_every: float | None,
    ranks: Ranks,
    at_once: int = 1,
) -> Iterator[Event | ExpertsFound]:
    """Train those of some experts that have no finished part. All processes must make this call.

    Args:
        config: Settings of expert training.
        parts: The parts of the run. Every process writes its own.
        numbers: Numbers of the experts, the same in all processes.
        train: Trains experts in this process.
        save_every: Seconds of training after which a state is saved; None: never.
        ranks: The processes, which divide the experts.
        at_once: Number of experts that this process trains at the same time.

    Yields:
        In rank 0, how many parts are finished already; then the events of the experts of this process.

    Raises:
        ExistsError: If processes of another run train some of the experts. All others are finished then.
        RankError: If another process of this run died or failed.
    """
    there = set(parts.missing(numbers))
    mask = from_first(ranks, [number in there for number in numbers])
    missing = [number for number, absent in zip(numbers, mask, strict=True) if absent]
    if ranks.rank == 0 and len(missing) < len(numbers):
        yield ExpertsFound(count=len(numbers) - len(missing))
    waiting, busy = deque(missing[ranks.rank :: ranks.size]), torch.zeros(config.experts)
    while waiting:
        group = PartGroup(parts)
        try:
            while waiting and len(group.numbers) < at_once:
                number = waiting.popleft()
                busy[number] = not group.add(number)
            if group.numbers:
                keeping = _keeping(parts.file, save_every)
                yield from train(config, group, numbers=group.numbers, keeping=keeping)
        finally:
            group.release()
    ranks.sum(busy)
    if busy.any():
        names = ", ".join(map(str, busy.nonzero().flatten().tolist()))
        message = f"{parts.folder}: other processes are training these experts: {names}"
        if ranks.rank:
            raise RankError(message)
        raise ExistsError(f"{message}; run the same command when they have ended")


def _keeping(file: Callable[[int], ExpertFile], every: float | None) -> Callable[[int], Keeping] | None:
    return None if every is None else lambda number: Keeping(file=file(number), every=every)


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
