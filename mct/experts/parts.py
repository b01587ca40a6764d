"""The parts of a run: bundles of one expert each, which many processes may train independently.

For the destination `experts.mct` and the experts 0 to 2, of which expert 1 is in training, the folder is

    experts.mct.parts/
        .job-3a7f…             the run that the parts belong to, by its identity; an empty file
        00000.mct              a finished part
        00002.mct
        .00001.mct.partial/    locked by the process that trains expert 1
        .00001.mct.00001.state the state of expert 1 (`mct.experts.states`)

A part has the provenance of the whole run, and states which expert it is. An expert depends on the seed and
its number alone, so the parts, stored in order, are the experts of one process. Parts of a run that writes
replay buffers are `.mtt` bundles.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from mct.errors import CorruptError, ExistsError, MissingError
from mct.experts.job import Job
from mct.experts.recording import BufferStore, BundleStore, ExpertRecorder, is_bundle
from mct.experts.states import ExpertFile
from trajfmt.encodings import ENCODINGS
from trajfmt.errors import ExistsError as OccupiedError
from trajfmt.errors import UsageError
from trajfmt.schema import Part
from trajfmt.sources import open_source
from trajfmt.storage import BusyError, occupied

_MARK: Final = ".job-"
"""Beginning of the name of the file that says to which run the parts belong."""


class Parts:
    """The parts of one run.

    Args:
        path: Destination of the run.
        job: The run.
        experts: Number of experts of the run.

    Raises:
        ExistsError: If the folder of the parts belongs to a run with other settings.
        MissingError: If the folder in which the bundle would be does not exist.
    """

    def __init__(self, path: Path, job: Job, experts: int) -> None:
        self.folder = parts_folder(path)
        self._job, self._experts = job, experts
        self._suffix = path.suffix if path.suffix == ENCODINGS["convex"].suffix else ENCODINGS["full"].suffix
        self._beside_bundle = is_bundle(path)
        self._claim()

    def path(self, number: int) -> Path:
        """Return the path of the part of an expert."""
        return self.folder / f"{number:05d}{self._suffix}"

    def file(self, number: int) -> ExpertFile:
        """Return the files of the state of an expert in training."""
        return ExpertFile(self.path(number), number, self._job.identity)

    def missing(self, numbers: Sequence[int]) -> list[int]:
        """Return those of some experts that have no finished part."""
        return [number for number in numbers if not occupied(self.path(number))]

    def open(self, number: int) -> BundleStore | None:
        """Return the store of the part of an expert, locked; None if another process writes it.

        Raises:
            ExistsError: If the part is finished.
        """
        try:
            return BundleStore(self.path(number), self._job, Part((number,), of=self._experts))
        except UsageError as exc:
            if isinstance(exc.__cause__, BusyError):
                return None
            raise

    def collect(self, store: BundleStore | BufferStore, count: int) -> None:
        """Store the experts up to number `count - 1` that a store does not have yet, each from its part.

        Raises:
            FormatError: If a part is damaged.
        """
        for number in range(store.finished, count):
            path = self.path(number)
            collection = open_source(path)
            for part in collection.parts:
                part.verify()
                experts = part.open(self.folder)
                if len(experts) != 1:
                    raise CorruptError(
                        f"{path}: expected one expert, found {len(experts)}; remove this bundle"
                    )
                store.take(experts[0])
                experts[0].close()

    def _claim(self) -> None:
        """Create the folder, or require that it belongs to this run.

        Of two runs that claim the folder at the same moment, at most one succeeds: each looks for the mark of
        the other after it has made its own.
        """
        parent = self.folder.absolute().parent
        if self._beside_bundle and not parent.is_dir():
            raise MissingError(f"{parent}: no such folder; create it first")
        self.folder.mkdir(parents=True, exist_ok=True)
        mark = self.folder / f"{_MARK}{self._job.identity.decode()}"
        before = {entry.name for entry in self.folder.iterdir()}
        if mark.name in before and not _others(before, mark):
            return
        if not before:
            mark.touch()
            if _others((entry.name for entry in self.folder.iterdir()), mark):
                mark.unlink()
            else:
                return
        raise ExistsError(
            f"{self.folder}: the parts of a run with other settings are here, or other files; use those "
            "settings, use another --out, or remove this folder"
        )


class PartGroup:
    """A store of a few experts, each of which goes to its own part.

    Args:
        parts: The parts of the run.
    """

    finished = 0

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._stores: dict[int, BundleStore] = {}

    @property
    def numbers(self) -> list[int]:
        """Numbers of the experts that are to be trained, in order."""
        return list(self._stores)

    def add(self, number: int) -> bool:
        """Lock the part of an expert, and return whether that was possible.

        A part that another process has finished meanwhile, or stored before it was killed, needs no training.
        """
        try:
            store = self._parts.open(number)
        except OccupiedError:
            if self._parts.missing([number]):
                raise  # something else is in the way
            return True
        if store is None:
            return False
        if not self._parts.missing([number]):  # published between the look and the lock
            store.release()
            return True
        self._stores[number] = store
        if store.finished:
            self._publish(number)
        return True

    def recorder(self) -> ExpertRecorder:
        """Return an empty recorder for the next expert."""
        return next(iter(self._stores.values())).recorder()

    def keep(self, recorder: ExpertRecorder) -> None:
        """Store the next expert, and publish its part."""
        number = next(iter(self._stores))
        self._stores[number].keep(recorder)
        self._publish(number)

    def release(self) -> None:
        """Unlock all parts that are not finished."""
        for store in self._stores.values():
            store.release()
        self._stores.clear()

    def _publish(self, number: int) -> None:
        self._stores[number].publish()
        del self._stores[number]
        self._parts.file(number).remove()


def parts_folder(path: Path) -> Path:
    """Return the folder of the parts of the run with this destination."""
    return path.with_name(f"{path.name}.parts")


def _others(names: Iterable[str], mark: Path) -> bool:
    """Return whether one of some names is the mark of another run, or there is no mark of a run at all."""
    marks = {name for name in names if name.startswith(_MARK)}
    return bool(marks - {mark.name})
