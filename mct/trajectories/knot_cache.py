"""Keeps knots within a budget of memory, and loads the next ones while the current ones are in use.

    all knots fit       each is loaded once, when it is first needed or expected
    some fit            the least recently used one makes room
    two samples fit     those of the next sample are loaded ahead, while this one is in use

One thread loads ahead. If it fails, the knot is loaded again when it is needed, and the error is raised
there. `loading` loads a single knot; `stream` decides which ones a sample needs.
"""

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from torch import Tensor

from mct.trajectories.loading import Key, Knot, KnotLoader

_MOST_MAPPED = 256
"""Views of mapped files that are kept: each may hold a descriptor, of which a process has 1024."""

_MOST_EXPECTED = 64
"""Samples that are expected at a time; of more, the oldest are forgotten."""


class Knots:
    """A cache of knots, all of one size.

    It belongs to one thread. Its reader, a thread that starts with the first knot that is expected, ends
    when the cache is closed or collected; at the end of the program it finishes the knot it is at.

    Args:
        loader: Loads one knot.
        size: Bytes of one knot.
        budget: Bytes that are held at most, unless the knots in use need more. Views of mapped files
            count like others, although the system can take their pages back.
    """

    def __init__(self, loader: KnotLoader, *, size: int, budget: int) -> None:
        self._loader, self._size, self._budget = loader, size, budget
        self._held: dict[Key, Knot] = {}  # the least recently used one first
        self._coming: dict[Key, Future[Knot]] = {}
        self._use: frozenset[Key] = frozenset()
        self._expected: deque[frozenset[Key]] = deque(maxlen=_MOST_EXPECTED)
        self._reader: ThreadPoolExecutor | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the knots that are held or on their way."""
        return (len(self._held) + len(self._coming)) * self._size

    def take(self, keys: Iterable[Key]) -> dict[Key, Tensor]:
        """Return knots `(P,)`, ready for the current stream; they are in use until the next call.

        Raises:
            FormatError: The bundle is damaged.
        """
        self._use = frozenset(keys)
        if self._use in self._expected:  # those expected before were not needed after all
            while self._expected.popleft() != self._use:
                pass
        found = {key: self._one(key).on_stream() for key in sorted(self._use)}
        self._load_ahead()
        return found

    def expect(self, keys: Iterable[Key]) -> None:
        """Begin to load knots that will be taken after those expected before, as far as they fit.

        What does not fit now is tried again when knots are taken. Nothing is raised.
        """
        wanted = frozenset(keys)
        if wanted not in self._expected:
            self._expected.append(wanted)
        self._load_ahead()

    def close(self) -> None:
        """End the reader and forget all knots; tensors that were handed out stay valid."""
        self._expected.clear()
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.shutdown(wait=True, cancel_futures=True)
        self._coming.clear()
        self._held.clear()
        self._use = frozenset()

    def _one(self, key: Key) -> Knot:
        knot = self._arrived(key) if key in self._coming else self._held.pop(key, None)
        if knot is None:
            if not self._make_room(self._use.union(*self._expected)):
                self._make_room(self._use)
            knot = self._loader.load(key)
        self._held[key] = knot
        if knot.mapped:
            views = [key for key, other in self._held.items() if other.mapped]
            for old in views[:-_MOST_MAPPED]:
                del self._held[old]
        return knot

    def _arrived(self, key: Key) -> Knot | None:
        """Return a knot that was loaded ahead, or None if that failed."""
        try:
            return self._coming[key].result().finished()
        except Exception:  # loading it once more says what is wrong, if it still is
            return None
        finally:
            del self._coming[key]

    def _load_ahead(self) -> None:
        kept = self._use.union(*self._expected)
        for keys in self._expected:
            for key in sorted(keys):
                if key in self._held or key in self._coming:
                    continue
                if not self._make_room(kept):
                    return
                if self._reader is None:
                    self._reader = ThreadPoolExecutor(1, thread_name_prefix="mct-knots")
                self._coming[key] = self._reader.submit(self._loader.load, key, ahead=True)

    def _make_room(self, kept: frozenset[Key]) -> bool:
        """Forget knots until one more fits, and return whether it does."""
        while self.nbytes + self._size > self._budget:
            spare = next((key for key in (*self._held, *self._coming) if key not in kept), None)
            if spare is None:
                return False
            self._held.pop(spare, None)
            coming = self._coming.get(spare)
            if coming is not None:
                if not coming.cancel():
                    wait([coming])
                del self._coming[spare]
        return True
