"""The campaign of mutations: a slice of it finds nothing, and what it should find is found."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest

pytest.importorskip("torch")
from benchmarks.trust import mutations
from benchmarks.trust.mutated import batches
from benchmarks.trust.mutated.batches import Batch, Outcome, chance_of
from benchmarks.trust.mutated.bundles import Subject, make_bundles
from benchmarks.trust.mutated.javascript import compare
from benchmarks.trust.mutated.sources import make_sources
from benchmarks.trust.mutated.tallies import Tally
from benchmarks.trust.mutated.trials import BundleTrials
from trajfmt.encodings.convex import reader
from trajfmt.schema import parse
from trajfmt.storage.checked import Checked
from trajfmt.storage.files import BundleFiles

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the campaign watches its processes by /proc")


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> list[Subject]:
    """Return all bundles that are mutated."""
    return make_bundles(tmp_path_factory.mktemp("bundles") / "material")


def test_a_slice_of_all_mutations(tmp_path: Path, subjects: list[Subject]) -> None:
    """Bundles and sources give the right values or documented errors, and instalments add up."""
    material = subjects, make_sources(tmp_path / "material")
    tally = Tally(seed=1)
    for most in (100, 160):
        trials = [mutations.Trials(material, tmp_path / "work", 0.2)]
        mutations.campaign(trials, tally, tmp_path, seconds=60, most=most, state=tmp_path / "state.json")
        tally = Tally.read(tmp_path / "state.json")
    assert tally.failures == []
    assert tally.tried == tally.after == tally.mutators.total() == 160
    outcomes = tally.by(1)
    assert outcomes["accepted"] > 8
    assert sum(name.startswith("source") for name in outcomes) > 2
    assert len(outcomes) > 15


def blind(*_: object, **_more: object) -> None:
    """Stand in for a check, and check nothing."""


def _nothing(*_: object, **_more: object) -> dict[str, Any]:
    return {}


def _doubled(values: Any, _layout: object) -> Any:
    return values * 2


FAULTS = {
    "hashes of what is read": (Checked, "check", blind, "full-none.mtt", "another value passes for verified"),
    "the checksum": (parse, "matches", lambda *_: True, "full-zstd.mtt", "an independent program refuses"),
    "the rules for u": (
        reader,
        "check_curve",
        blind,
        "convex-no-norms.mct",
        "an independent program refuses",
    ),
    "hashes of files": (BundleFiles, "verify", _nothing, "full-none.mtt", "validation finds nothing"),
    "the mixture": (reader, "narrow", _doubled, "convex-bf16.mct", "an independent program reads other"),
    "errors": (reader, "check_curve", lambda: 1, "convex-no-norms.mct", "a foreign exception: TypeError"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_reader_that_skips_a_check_is_found(
    name: str, tmp_path: Path, subjects: list[Subject], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each check that is planted out of the reader is missed within some trials."""
    where, attribute, instead, subject, wrong = FAULTS[name]
    monkeypatch.setattr(where, attribute, instead)
    trials = BundleTrials([one for one in subjects if one.name == subject], tmp_path)
    found: list[str] = []
    for number in range(1000):
        found += trials.run(chance_of(0, number))[1].wrong
        if any(wrong in text for text in found):
            return
    pytest.fail(f"it was not found; found: {found}")


def _crash(_: Random) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _wait(_: Random) -> None:
    time.sleep(60)


def _spin(_: Random) -> None:
    while True:
        pass


def _take(_: Random) -> None:
    bytearray(200 * 2**20)


@pytest.mark.parametrize(
    ("act", "wait", "wrong"),
    [
        (_crash, 60, "the process ended with status"),
        (_wait, 0.3, "no progress"),
        (_spin, 60, "it takes too long"),
        (_take, 60, "MemoryError"),
    ],
)
def test_crashes_hangs_and_peaks_are_attributed(
    act: Any, wait: float, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trial that does it is named, and those before it are counted."""
    monkeypatch.setattr(batches, "WAIT", wait)
    monkeypatch.setattr(batches, "SECONDS", 0.2)
    monkeypatch.setattr(batches, "LIMIT", 2**27)
    seventh = chance_of(3, 7).random()

    def trial(chance: Random) -> Outcome:
        if chance.random() == seventh:
            act(chance)
        return Outcome("bundle", "bits", "accepted", [], lambda _: None)

    batch = Batch(trial, 3, range(5, 12), tmp_path)
    while (tally := batch.poll()) is None:
        time.sleep(0.01)
    assert [failure["number"] for failure in tally.failures] == [7]
    assert wrong in tally.failures[0]["wrong"][0]
    assert tally.tried == tally.after - 5


def test_a_trial_follows_from_its_seed(tmp_path: Path, subjects: list[Subject]) -> None:
    """The same number gives the same files and the same verdict."""
    for number in (3, 4, 5, 6):
        runs = [BundleTrials(subjects, tmp_path).run(chance_of(8, number)) for _ in range(2)]
        assert runs[0][0].tree == runs[1][0].tree
        assert runs[0][1] == runs[1][1]


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
def test_both_readers_agree_and_differences_are_found(
    tmp_path: Path, subjects: list[Subject], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slice of mutations gives no difference; with a fault in one reader, its bundle is kept."""
    tally = compare(subjects, {number: chance_of(2, number) for number in range(40)}, tmp_path)
    assert tally.failures == []
    assert tally.tried == 40
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(reader, "narrow", _doubled)
    one = [subject for subject in subjects if subject.name == "convex-bf16.mct"]
    tally = compare(one, {number: chance_of(2, number) for number in range(20)}, tmp_path)
    assert {failure["wrong"][0].rpartition(":")[0] for failure in tally.failures} == {"other bytes"}
    assert all(Path(failure["files"], "manifest.json").is_file() for failure in tally.failures)
