"""All logs of a run: opened late, and left behind when they fail."""

from __future__ import annotations

import pytest

import trajfmt
from mct.logs import log
from mct.logs.log import LOGGERS, Kind, Log, require


class Failing:
    """A logger that fails from a step on, in one of its methods."""

    def __init__(self, method: str) -> None:
        self.method, self.calls = method, list[str]()

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name == self.method:
            raise OSError(28, "No space left on device")

    def scalars(self, _step, _values) -> None:
        """Log values, or fail."""
        self._call("scalars")

    def picture(self, _step, _name, _png) -> None:
        """Log a picture, or fail."""
        self._call("picture")

    def close(self) -> None:
        """Close, or fail."""
        self._call("close")


@pytest.mark.parametrize("method", ["open", "scalars", "picture", "close", "nothing"])
def test_a_log_that_fails_is_noted_once_and_harms_no_other(
    monkeypatch, tmp_path, step, png, method: str
) -> None:
    """Wherever it fails; the CSV file beside it is complete."""
    logger, notes = Failing(method), list[str]()

    def begin(_opening) -> Failing:
        logger._call("open")
        return logger

    monkeypatch.setattr(log, "LOGGERS", {**LOGGERS, "failing": Kind(begin)})
    (tmp_path / "images.png").write_bytes(png)
    logs = Log(["failing", "csv", "failing"], tmp_path, settings={}, notes=notes.append)
    for number in (1, 2, 3):
        logs.record(step(number, picture=tmp_path / "images.png"))
    logs.close()
    said = "the log failing failed, and the run goes on without it: [Errno 28] No space left on device"
    assert notes == ([] if method == "nothing" else [said])
    assert logger.calls.count(method) == (0 if method == "nothing" else 1)
    assert (tmp_path / "log.csv").read_text().count("\n") == 4


def test_nothing_is_written_before_the_first_event(tmp_path) -> None:
    """A run that fails at its beginning leaves no log."""
    Log(["csv"], tmp_path, settings={}, notes=[].append).close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", sorted(LOGGERS))
def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch, name: str) -> None:
    """The extra has the name of the log; the CSV file needs nothing."""
    monkeypatch.setattr(log, "find_spec", lambda _name: None)
    if name == "csv":
        require([name])
        return
    words = rf"the log {name} needs the package {name}: pip install 'trajfmt\[{name}\]'"
    with pytest.raises(trajfmt.MissingDependencyError, match=words):
        require(["csv", name])
