"""Methods by name: published ones, and those of a user's module."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
from mct.errors import ConfigError
from mct.learned.updates import Sgd
from mct.methods.finding import recipe_of, source_of
from mct.methods.recipe import PUBLISHED, updates_of
from mct.settings.config import DistillConfig

MODULE = """
from mct.api import Recipe, Sgd
recipe = Recipe(name="mine", settings={"ipc": 3}, updates={"images": Sgd(2.0)})
def make(): return recipe
def broken(): raise KeyError("lost")
number = 4
def loss(way): return 0
"""


@pytest.fixture
def module(tmp_path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a module in the working folder."""
    name = f"method_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return name


def test_published_methods_are_the_settings() -> None:
    """Their objective and updates follow from the settings alone."""
    assert recipe_of(None) is recipe_of("datm") is PUBLISHED
    config = DistillConfig(labels="learned")
    assert PUBLISHED.updates_of(config) == updates_of(config)
    assert source_of("datm") is None


def test_recipe_or_function_of_a_module(module: str) -> None:
    """Either is found, its updates replace those of the settings, and the file is identified."""
    found = recipe_of(f"{module}:recipe")
    assert recipe_of(f"{module}:make") is found
    updates = found.updates_of(DistillConfig())
    assert updates["images"] == Sgd(2.0)
    assert updates["learning_rate"] == Sgd(1e-7, 0.5)
    assert len(source_of(f"{module}:recipe")) == 64


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("loss", "must be an mct.api.Recipe, or a function that returns one, got function"),
        ("number", "must be an mct.api.Recipe, or a function that returns one, got int"),
        ("broken", r"broken\(\) raised KeyError: 'lost'"),
        ("nothing", "has no 'nothing'"),
    ],
)
def test_what_is_no_method_is_refused_in_one_line(module: str, name: str, words: str) -> None:
    """The line names the code."""
    with pytest.raises(ConfigError, match=words) as caught:
        recipe_of(f"{module}:{name}")
    assert "\n" not in str(caught.value)


def test_unknown_names() -> None:
    """A misspelt method, and a module that does not exist."""
    with pytest.raises(
        ConfigError, match=r"must be one of mtt, mct, .*pad, .*cafe, or your own as package\.module:name"
    ):
        recipe_of("datn")
    with pytest.raises(ConfigError, match="no module 'not_there'"):
        recipe_of("not_there:recipe")
