"""Threads that stand for the processes of a run: the same calls, sums in order of rank, and no start-up."""

import threading
from collections.abc import Callable

from mct.errors import RankError


class Member:
    """One of several threads that stand for processes."""

    def __init__(self, rank: int, size: int, given: dict, changed: threading.Condition) -> None:
        self.rank, self.size, self._given, self._changed, self._sums = rank, size, given, changed, 0

    def sum(self, values) -> None:
        """Add up in order of rank; a thread that has failed is a process that has died."""
        number, self._sums = self._sums, self._sums + 1
        keys = [(number, rank) for rank in range(self.size)]

        def complete() -> bool:
            return all(key in self._given for key in keys)

        with self._changed:
            self._given[number, self.rank] = values.clone()
            self._changed.notify_all()
            self._changed.wait_for(lambda: complete() or "dead" in self._given, timeout=60)
            if not complete():
                raise RankError("another one has died")
        first, *others = (self._given[key] for key in keys)
        values.copy_(sum(others, first))


def in_ranks(work: Callable[[Member], object], size: int = 2) -> list:
    """Do `work` in threads, and return what each returned or raised."""
    given: dict = {}
    changed, found = threading.Condition(), [None] * size

    def run(rank: int) -> None:
        try:
            found[rank] = work(Member(rank, size, given, changed))
        except Exception as exc:
            found[rank] = exc
            with changed:
                given["dead"] = True
                changed.notify_all()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
