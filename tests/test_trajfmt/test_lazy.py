"""Packages whose names are loaded when they are first used."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trajfmt.lazy import names_of


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the name of a package with a module that works and one that needs what does not exist."""
    folder = tmp_path / "late_package"
    folder.mkdir()
    table = '{"found": "good", "gone": "bad", "inner": "below"}'
    (folder / "__init__.py").write_text(
        f"from trajfmt.lazy import names_of\n__getattr__ = names_of(__name__, {table})\n"
    )
    (folder / "good.py").write_text("found = object()\n")
    (folder / "bad.py").write_text("import no_such_package\n")
    (folder / "below").mkdir()
    (folder / "below" / "inner.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    __import__(folder.name)
    yield folder.name
    for name in [name for name in sys.modules if name.partition(".")[0] == folder.name]:
        del sys.modules[name]


def test_a_name_is_loaded_once_with_its_module(package: str) -> None:
    """Nothing is imported before; afterwards the name is an ordinary one of the package."""
    module = sys.modules[package]
    assert f"{package}.good" not in sys.modules
    assert module.found is sys.modules[f"{package}.good"].found
    assert module.__dict__["found"] is module.found


def test_a_module_is_a_name_too(package: str) -> None:
    """As it is in a package that imports its modules, also if nobody has imported it."""
    assert sys.modules[package].good is sys.modules[f"{package}.good"]


def test_a_name_may_stand_for_a_module_further_below(package: str) -> None:
    """It is found as `from package.below import inner` finds it."""
    assert sys.modules[package].inner is sys.modules[f"{package}.below.inner"]


def test_an_unknown_name_says_what_it_was_asked_of(package: str) -> None:
    """The error is that of Python, with what the interpreter needs to propose a similar name."""
    module = sys.modules[package]
    with pytest.raises(AttributeError, match=f"^module '{package}' has no attribute 'fond'$") as caught:
        _ = module.fond
    assert (caught.value.name, caught.value.obj) == ("fond", module)


def test_a_module_that_cannot_be_imported_says_why(package: str) -> None:
    """A missing dependency is not taken for a name that does not exist."""
    for name in ("gone", "bad"):
        with pytest.raises(ModuleNotFoundError, match="no_such_package"):
            getattr(sys.modules[package], name)


def test_a_wrong_entry_of_the_table_is_an_attribute_error(package: str) -> None:
    """The module exists and does not define the name."""
    with pytest.raises(AttributeError, match="has no attribute 'absent'"):
        names_of(package, {"absent": "good"})("absent")
