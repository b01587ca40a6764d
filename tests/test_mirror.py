"""The test of a module is where its path says: that of `schema/layout.py` is `schema/test_layout.py`.

A test file is called after a module of its folder, or after the folder, and may go on with an aspect:
`test_zipped.py`, `test_run_kill.py`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
PACKAGES = ("trajfmt", "mct", "cli")

ELSEWHERE = {
    "trajfmt": {
        "test_trajfmt/sources/mtt_family/test_mtt_family.py": (
            ["sources/mtt_family/*"],
            "differ in a table of facts: each is read from what its own writer leaves, and that all"
            " have a case is asserted there",
        ),
        "test_trajfmt/sources/pairs_and_graphs/test_towers.py": (
            ["sources/pairs_and_graphs/vl", "sources/pairs_and_graphs/lors"],
            "differ in names and facts: both are read from what their writers leave",
        ),
        "test_trajfmt/sources/pairs_and_graphs/test_graphs.py": (
            ["sources/pairs_and_graphs/sfgc", "sources/pairs_and_graphs/geom"],
            "differ in names and facts: both are read from what their writers leave",
        ),
        "test_trajfmt/export/test_checkpoints.py": (
            ["export/base"],
            "says what a target is; its only behaviour is the refusal to write stubs",
        ),
        "test_trajfmt/codecs/test_table.py": (
            ["codecs/codec", "codecs/none"],
            "say what a codec is: each one of the table is tried",
        ),
        "test_trajfmt/encodings/test_table.py": (
            [
                "encodings/parts/encoding",
                *[
                    f"encodings/{name}/{part}"
                    for name in ("convex", "full")
                    for part in ("encoder", "encoding")
                ],
            ],
            "are the two entries of the table and what they promise: every function is tried for both",
        ),
        "test_trajfmt/storage/test_remote.py": (
            ["storage/connections"],
            "leaves no connection open, whatever the end of a transfer is",
        ),
        "test_trajfmt/storage/test_transfer.py": (
            ["storage/proxies"],
            "is tried with real proxies there, good and bad ones",
        ),
        "test_trajfmt/storage/test_parts.py": (
            ["storage/digests"],
            "reads what parts are verified with: a flipped bit in any digest is found there",
        ),
        "test_trajfmt/plots/test_figures.py": (
            ["plots/plot"],
            "is a protocol: a plot of another kind is drawn",
        ),
        "test_trajfmt/pages/test_page.py": (
            ["pages/numbers", "pages/parts", "pages/style"],
            "are what a page consists of: a page with all of them is checked there",
        ),
        "test_trajfmt/reports/test_page.py": (
            ["reports/sections", "reports/path", "reports/layers", "reports/comparison"],
            "are the sections of the page that is checked there",
        ),
        "test_packaging.py": (["version"], "is compared with the package's metadata"),
    },
    "mct": {
        "test_mct/sets/test_table.py": (
            ["sets/base", "sets/mtt", "sets/ema", "sets/authors", "sets/datm", "sets/ddranking"],
            "are names of files: each is read from what its own writer leaves",
        ),
        "test_mct/settings/test_config.py": (
            ["settings/checks"],
            "are what settings are checked with: each is seen to refuse there",
        ),
        "test_mct/data/readers/test_arrays.py": (["data/readers/raw"], "is what every reader returns"),
        "test_mct/results/test_synthetic.py": (
            ["results/origin", "results/consistency"],
            "are read from every file there: data survive bit for bit, and contradictions are refused",
        ),
        "test_mct/distillation/test_loop.py": (["events"], "are data: the loops yield them"),
        "test_mct/logs/test_log.py": (
            ["logs/logger"],
            "is the protocol of the loggers that are opened there",
        ),
        "test_mct/inner/steps/test_table.py": (
            ["inner/steps/step"],
            "is the protocol of the steps that are made there",
        ),
        "test_mct/inner/optimizers/test_optimizer.py": (
            ["inner/optimizers/*"],
            "are one protocol: every optimiser is compared with torch's and with autograd",
        ),
        "test_mct/inner/test_unroll.py": (
            ["inner/derivatives"],
            "is the part of the recursion that is about one update: every option of it is tried there",
        ),
        "test_mct/reports/test_page.py": (
            ["reports/sections", "reports/comparison"],
            "are the sections of the page that is checked there",
        ),
        "test_mct/objectives/test_table.py": (
            ["objectives/objective", "objectives/scene"],
            "are what an objective is, and what it is made from: others than ours take whole outer steps",
        ),
        "test_mct/inner/test_unroll_cuda.py": (["runtime/capture"], "needs a GPU"),
        "test_mct/settings/test_presets.py": (
            ["settings/published/*"],
            "are tables: what is published is compared there, and every preset is used",
        ),
        "test_mct/methods/test_finding.py": (
            ["api"],
            "is a list of names from which a method is made there",
        ),
        "test_mct/distillation/test_distillation.py": (
            ["distillation/engine", "distillation/judging", "distillation/stepper"],
            "are parts of every run: steps, evaluations and best images are compared there",
        ),
        "test_mct/condensation/test_table.py": (
            ["condensation/method"],
            "is the protocol of the methods of the table: each takes a step",
        ),
        "test_mct/distillation/test_run.py": (
            ["distillation/settling"],
            "is the first part of a run: every way to settle one is tried there",
        ),
        "test_mct/evaluation/protocols/test_table.py": (
            ["evaluation/protocols/protocol"],
            "says what a protocol is: one of another kind is evaluated there",
        ),
        "test_mct/models/test_factory.py": (
            ["runtime/usercode"],
            "imports code of users for it: every failure is tried there",
        ),
        "test_mct/reproduce/test_run.py": (
            [
                *(f"reproduce/{name}" for name in ("experiment", "place", "scale", "measuring", "work")),
                *(f"reproduce/{name}" for name in ("table1", "table2", "table3", "figures")),
            ],
            "are what a reproduction consists of: whole ones are made there, with and without kills",
        ),
        "test_mct/learned/test_updates.py": (["learned/value"], "is the protocol of the updates there"),
    },
}
"""For every package: test file → the modules without a test file of their own that it covers, and why.

`folder/*` stands for all modules of a folder that have no test file of their own.
"""


def _tests(package: str) -> list[Path]:
    return sorted((TESTS / f"test_{package}").rglob("test_*.py"))


def _modules(folder: Path) -> set[str]:
    return {file.stem for file in folder.glob("*.py")} - {"__init__"}


def _subject(file: Path, names: set[str]) -> str | None:
    """Return the longest of some names that a test file is called after."""
    fitting = [name for name in names if f"{file.stem}_".startswith(f"test_{name}_")]
    return max(fitting, key=len, default=None)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_test_file_is_called_after_what_it_tests(package: str) -> None:
    """Its folder is one of the package, its name one of a module there or that of the folder."""
    files = _tests(package)
    assert files
    wrong = []
    for file in files:
        folder = ROOT / package / file.parent.relative_to(TESTS / f"test_{package}")
        if not (folder / "__init__.py").is_file() or not _subject(file, _modules(folder) | {folder.name}):
            wrong.append(str(file.relative_to(TESTS)))
    if package == "cli":  # `traj` and `mct` are tested as their users meet them, command by command
        assert {_subject(file, _modules(ROOT / "cli")) for file in files} >= {"traj", "mct"}
    assert wrong == []


@pytest.mark.parametrize("package", ELSEWHERE)
def test_every_module_has_a_test_file(package: str) -> None:
    """A module without one is in the table, with the file that covers it, and no other module is."""
    tested = set()
    for file in _tests(package):
        place = file.parent.relative_to(TESTS / f"test_{package}")
        subject = _subject(file, _modules(ROOT / package / place))
        if subject is not None:
            tested.add((place / subject).as_posix())
    modules = {
        file.relative_to(ROOT / package).with_suffix("").as_posix()
        for file in (ROOT / package).rglob("*.py")
        if file.name != "__init__.py"
    }
    named = [module for covered, _ in ELSEWHERE[package].values() for module in covered]
    assert sorted(named) == sorted(set(named))
    whole = {name.removesuffix("/*") for name in named if name.endswith("/*")}
    left = {module for module in modules - tested if module.rpartition("/")[0] not in whole}
    assert left == {name for name in named if not name.endswith("/*")}


def test_the_files_of_the_table_exist() -> None:
    """Each with a reason why it covers other modules."""
    for table in ELSEWHERE.values():
        for name, (_, why) in table.items():
            assert (TESTS / name).is_file(), name
            assert why
