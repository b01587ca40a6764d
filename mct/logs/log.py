"""The loggers by name, and `Log`, all loggers of a run together."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import trajfmt
from mct.errors import first_line
from mct.events import Evaluated, OuterStep
from mct.logs import series
from mct.logs.csvfile import CsvLogger
from mct.logs.logger import Logger, Opening
from mct.logs.tensorboard import TensorBoardLogger
from mct.logs.trackio import TrackioLogger
from mct.logs.wandb import WandbLogger
from mct.runtime.phases import phase


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of log."""

    open: Callable[[Opening], Logger]
    """Opens a logger."""

    package: str | None = None
    """The package that it needs, which is also the name of the extra that installs it; None: no other one."""


LOGGERS: Final[Mapping[str, Kind]] = {
    "csv": Kind(CsvLogger),
    "tensorboard": Kind(TensorBoardLogger, "tensorboard"),
    "trackio": Kind(TrackioLogger, "trackio"),
    "wandb": Kind(WandbLogger, "wandb"),
}
"""Name of a log to its kind."""


def require(names: Iterable[str]) -> None:
    """Require that the packages of some logs are installed.

    Args:
        names: Names in `LOGGERS`.

    Raises:
        MissingDependencyError: One is not.
    """
    for name in names:
        package = LOGGERS[name].package
        if package is not None and find_spec(package) is None:
            raise trajfmt.MissingDependencyError(
                f"the log {name} needs the package {package}: pip install 'trajfmt[{package}]'"
            )


class Log:
    """The logs of a run.

    They are opened with the first event, when the run has begun and its folder is its own. A log that fails
    is noted, once, and the run goes on without it.

    Args:
        names: Names in `LOGGERS`.
        folder: Folder of the run.
        settings: Settings of the run, for tools that show them.
        notes: Called with a line for each log that fails.
    """

    def __init__(
        self,
        names: Sequence[str],
        folder: Path,
        *,
        settings: Mapping[str, object],
        notes: Callable[[str], None],
    ) -> None:
        self._names, self._folder, self._settings, self._notes = names, folder, settings, notes
        self._open: dict[str, Logger] | None = None

    def record(self, event: Evaluated | OuterStep) -> None:
        """Log an event."""
        if self._open is None:
            self._open = {}
            opening = Opening(folder=self._folder, first=event.step, settings=self._settings)
            for name in dict.fromkeys(self._names):
                self._guarded(name, partial(self._add, name, opening))
        found = series.values(event)
        picture = event.picture.read_bytes() if isinstance(event, OuterStep) and event.picture else None
        for name, logger in list(self._open.items()):
            self._guarded(name, partial(logger.scalars, event.step, found))
            if picture is not None and name in self._open:
                self._guarded(name, partial(logger.picture, event.step, series.PICTURE, picture))

    def close(self) -> None:
        """Close all logs."""
        for name, logger in list((self._open or {}).items()):
            self._guarded(name, logger.close)
        self._open = {}

    def _add(self, name: str, opening: Opening) -> None:
        assert self._open is not None
        with phase(f"opening the log {name}"):
            self._open[name] = LOGGERS[name].open(opening)

    def _guarded(self, name: str, work: Callable[[], None]) -> None:
        """Do something with a logger, and do without the logger from then on if it fails."""
        assert self._open is not None
        try:
            work()
        except Exception as exc:  # a tool may raise anything
            self._open.pop(name, None)
            self._notes(f"the log {name} failed, and the run goes on without it: {first_line(exc)}")
