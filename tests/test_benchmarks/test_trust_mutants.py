"""Mutation testing of the core: what is changed, and that a good test notices what a weak one does not."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.trust import mutants
from benchmarks.trust.core import equivalents, modules
from benchmarks.trust.core.measure import Measured
from benchmarks.trust.core.sites import Site, mutant, sites
from benchmarks.trust.core.trials import TIMEOUT, Worker

SOURCE = '''"""A module."""

LIMIT = 3


def within(value: int) -> bool:
    """Tell whether a value is below the limit."""
    if value is None:
        raise ValueError(f"must be below {LIMIT}, got {value + 1}")
    while value < 0:
        value += 1
    return value < LIMIT
'''
WEAK = "from planted import within\n\n\ndef test_weak():\n    assert within(-1) and not within(9)\n"
GOOD = "from planted import within\n\n\ndef test_good():\n    assert within(2) and not within(3)\n"
BOUNDARY = "within: value < LIMIT → value <= LIMIT"


def test_what_is_changed() -> None:
    """Every operator, constant, condition and statement; no message, annotation or text for people."""
    assert {site.name: (site.lines.start, site.local) for site in sites(SOURCE)} == {
        "module: 3 → 4 in LIMIT = 3": (3, False),
        "within: value is None → value is not None": (8, True),
        "within: without raise ValueError(f'must be below {LIMIT}, got {value + 1}')": (9, True),
        "within: value < 0 → value <= 0": (10, True),
        "within: 0 → 1 in value < 0": (10, True),
        "within: value += 1 → value -= 1": (11, True),
        "within: 1 → 2 in value += 1": (11, True),
        "within: return value < LIMIT → return None": (12, True),
        BOUNDARY: (12, True),
    }
    for site in sites(SOURCE):
        changed = mutant(SOURCE, site.name)
        compile(changed, "planted", "exec")
        assert changed != mutant(SOURCE, BOUNDARY) or site.name == BOUNDARY
    assert "return value <= LIMIT" in mutant(SOURCE, BOUNDARY)
    with pytest.raises(KeyError):
        mutant(SOURCE, "within: value → other")


def test_names_of_the_core_are_unique_and_those_of_the_list_exist() -> None:
    """A mutant on the list that no longer exists is taken from it."""
    names = [
        f"{module} {site.name}" for module in modules() for site in sites((mutants.ROOT / module).read_text())
    ]
    assert len(names) == len(set(names)) > 4000
    patterns = equivalents.load()
    assert all(patterns.values())
    assert [
        each for each in patterns if not any(equivalents.is_equivalent(n, {each: ""}) for n in names)
    ] == []


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """Return a worker on a repository of one module and two tests."""
    root = tmp_path_factory.mktemp("root")
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    for name, text in (("planted.py", SOURCE), ("test_weak.py", WEAK), ("test_good.py", GOOD)):
        (root / name).write_text(text)
    found = Worker(tmp_path_factory.mktemp("copy"), root)
    yield found
    found.close()


def test_a_good_test_kills_what_a_weak_one_lets_live(worker: Worker) -> None:
    """The original passes both; a mutant that does not end is stopped; the copy is as it was afterwards."""
    weak, good = ["test_weak.py::test_weak"], ["test_good.py::test_good"]
    assert worker.trial("planted.py", BOUNDARY, weak, 60)[0] == 0
    code, output = worker.trial("planted.py", BOUNDARY, weak + good, 60)
    assert code == 1
    assert "FAILED test_good.py::test_good" in output
    assert worker.trial("planted.py", "within: value += 1 → value -= 1", weak, 2)[0] == TIMEOUT
    assert worker.trial("planted.py", None, weak + good, 60)[0] == 0


def test_a_mutant_is_tried_with_more_tests_until_one_fails(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first part alone would let it live."""
    (site,) = (site for site in sites(SOURCE) if site.name == BOUNDARY)
    tests = ["test_weak.py::test_weak", "test_good.py::test_good"]
    monkeypatch.setattr(mutants, "FIRST", (1.0, 1))
    seconds = dict.fromkeys(tests, 0.1)
    made = mutants.Mutant("planted.py", site, "")
    assert mutants.try_one(worker, made, tests, seconds)[0] == "killed"
    assert mutants.try_one(worker, made, tests[:1], seconds) == ("survived", "")
    assert mutants.try_one(worker, made, [], seconds) == ("survived", "")


def test_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Survivors that behave like the original do not count; a result of another text is none."""
    made = [mutants.Mutant("trajfmt/a.py", Site(f"f: {i}", range(1), True), "t") for i in range(10)]
    record = mutants.Record(tmp_path / "results")
    with record.path.open("a") as file:
        for number, each in enumerate(made):
            result = "survived" if number < 2 else "timeout" if number == 2 else "killed"
            record.add(file, each, result, "")
        file.write('{"name": "cut')
    again = mutants.Record(record.path)
    again.load()
    monkeypatch.setattr(equivalents, "load", lambda: {"trajfmt/a.py f: 0": "reason"})
    text, enough = mutants.summary(made, again, 100)
    assert not enough
    assert "core           8 of     9 killed: 88.9%" in text
    assert "10 of 100 mutants tried; 1 of the killed took too long; 1 behave like the original" in text
    monkeypatch.setattr(equivalents, "load", lambda: {"*: [01]": "reason"})
    assert mutants.summary(made, again, 100)[1]
    assert again.of(mutants.Mutant("trajfmt/a.py", made[0].site, "other")) is None
    low, high = mutants.interval(90, 100)
    assert (round(low, 3), round(high, 3)) == (0.826, 0.945)


def test_tests_of_a_line_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the module's own file before others, the fast before the slow; then the rest of the file."""
    own, module = "tests/test_trajfmt/schema/test_text.py::", "trajfmt/schema/text.py"
    seconds = {f"{own}a": 0.5, f"{own}b": 0.1, f"{own}c": 0.1, "tests/x.py::d": 0.2, "tests/x.py::slow": 9.0}
    found = Measured({module: {5: {f"{own}a", f"{own}b", "tests/x.py::d", "tests/x.py::slow"}}}, seconds)
    monkeypatch.setattr(mutants, "MOST", 1.0)
    made = mutants.Mutant(module, Site("f: 1", range(4, 6), True), "")
    assert mutants.tests_of(made, found) == [f"{own}b", f"{own}a", "tests/x.py::d", f"{own}c"]
    monkeypatch.setattr(mutants, "MOST", 100.0)
    made = mutants.Mutant(module, Site("module: 1", range(1, 2), False), "")
    assert set(mutants.tests_of(made, found)) == set(seconds)
