"""A run of Weights & Biases without a server, and what is said without an account."""

from __future__ import annotations

import sys
import types

import pytest

from mct.errors import ConfigError
from mct.logs import series
from mct.logs.wandb import WandbLogger


class Stand:
    """A stand-in of the package, which notes how it is called."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.keys = True

    def module(self) -> types.ModuleType:
        """Return the module."""
        made = types.ModuleType("wandb")
        made.Settings = lambda **more: more
        made.Image = lambda image: ("image", image.size)
        made.login = lambda prompt: self.keys and not prompt
        made.init = self.init
        return made

    def init(self, **more: object) -> types.SimpleNamespace:
        """Begin a run."""
        self.calls.append(("init", more))
        return types.SimpleNamespace(
            log=lambda values, step: self.calls.append(("log", step, values)),
            finish=lambda: self.calls.append(("finish",)),
        )


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Stand:
    """Return a stand-in that is imported instead of the package."""
    for name in ("WANDB_PROJECT", "WANDB_NAME", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    made = Stand()
    monkeypatch.setitem(sys.modules, "wandb", made.module())
    return made


def test_a_resumed_run_has_the_same_id(opening, step, tmp_path, stand, png) -> None:
    """Settings, values and pictures reach the run, whose id is kept in its folder."""
    for first in (1, 2):
        logger = WandbLogger(opening(first))
        logger.scalars(first, series.values(step(first)))
        logger.picture(first, "images", png)
        logger.close()
    begun = [call[1] for call in stand.calls if call[0] == "init"]
    assert begun[0] == begun[1]
    assert begun[0]["id"] == (tmp_path / "wandb" / "run-id").read_text()
    assert (begun[0]["project"], begun[0]["name"]) == ("mct", tmp_path.name)
    assert begun[0]["config"] == {"ipc": 1, "augment": "none"}
    assert stand.calls[1:4] == [
        ("log", 1, series.values(step(1))),
        ("log", 1, {"images": ("image", (134, 134))}),
        ("finish",),
    ]


def test_nothing_is_asked_without_an_account(opening, stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to do; offline, no account is needed."""
    stand.keys = False
    with pytest.raises(ConfigError, match="run wandb login first, or set WANDB_MODE=offline"):
        WandbLogger(opening(1))
    monkeypatch.setenv("WANDB_MODE", "offline")
    WandbLogger(opening(1))
    assert [call[0] for call in stand.calls] == ["init"]


def test_the_real_package_writes_a_run_offline(opening, step, tmp_path, monkeypatch) -> None:
    """Its files are in the folder of the run; where the package is not installed, this is skipped."""
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    logger = WandbLogger(opening(1))
    logger.scalars(1, series.values(step(1)))
    logger.close()
    (written,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    assert b"accuracy" not in written.read_bytes()
    assert b"learning_rate" in written.read_bytes()
