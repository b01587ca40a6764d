"""The variables of torchrun: what is missing, empty or wrong is one error that names the variable."""

import pytest

from mct.errors import ConfigError
from mct.runtime.launch import Launch, launch, local_rank, local_size

NAMES = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "MCT_WAIT")
TWO = {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "here", "MASTER_PORT": "29500"}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove every variable."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("given", [{}, dict.fromkeys(NAMES, ""), {"WORLD_SIZE": "1", "RANK": "0"}])
def test_without_others(monkeypatch, given: dict[str, str]) -> None:
    """An empty variable is one that is not set."""
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert launch() == Launch()
    assert (local_rank(3), local_size()) == (3, 1)


def test_all_that_torchrun_says(monkeypatch) -> None:
    """Every variable has its place."""
    for name, value in (TWO | {"MCT_WAIT": "7.5", "LOCAL_RANK": "4", "LOCAL_WORLD_SIZE": "8"}).items():
        monkeypatch.setenv(name, value)
    assert launch() == Launch(size=2, rank=1, host="here", port=29500, wait=7.5)
    assert (local_rank(1), local_size()) == (4, 8)


@pytest.mark.parametrize(("name", "value", "expected"), [
    ("WORLD_SIZE", "two", "expected a whole number >= 1"), ("WORLD_SIZE", "-2", ">= 1"),
    ("WORLD_SIZE", "0", ">= 1"), ("WORLD_SIZE", "²", ">= 1"),
    ("RANK", "2", "expected 0 to 1, as WORLD_SIZE is 2"),
    ("RANK", "", "RANK is not set: expected 0 to 1"), ("RANK", "-1", "0 to 1"), ("RANK", "x", "0 to 1"),
    ("MASTER_ADDR", "", "MASTER_ADDR is not set"), ("MASTER_PORT", "", "MASTER_PORT is not set"),
    ("MASTER_PORT", "70000", "1 to 65535"), ("MASTER_PORT", "http", "1 to 65535"),
    ("MCT_WAIT", "soon", "seconds"), ("MCT_WAIT", "nan", "seconds"), ("MCT_WAIT", "0", "seconds"),
    ("WORLD_SIZE", "", "RANK is '1': expected 0, as WORLD_SIZE is not set"),
])  # fmt: skip
def test_wrong_variable(monkeypatch, name: str, value: str, expected: str) -> None:
    """The message has its name, its value and what is expected, and one line says what to do."""
    for key, text in (TWO | {name: value}).items():
        monkeypatch.setenv(key, text)
    with pytest.raises(ConfigError) as caught:
        launch()
    message = str(caught.value)
    assert expected in message
    assert not value or repr(value) in message
    assert "torchrun" in message or "unset" in message or name == "MCT_WAIT"


READERS = {"LOCAL_RANK": lambda: local_rank(0), "LOCAL_WORLD_SIZE": local_size}


@pytest.mark.parametrize("name", READERS)
def test_wrong_local_variable(monkeypatch, name: str) -> None:
    """They are optional, but not anything goes."""
    monkeypatch.setenv(name, "many")
    with pytest.raises(ConfigError, match=f"{name} is 'many'"):
        READERS[name]()
