"""Part 2: the tests marked `cuda`, run by pytest, counted as they end."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from context import ROOT, Context

ROWS = {
    "test_eager_is_backpropagation_through_the_whole_unroll": "exact gradient, autograd, float64",
    "test_closed_is_backpropagation_through_the_whole_unroll": "exact gradient, written out, float64",
    "test_compiled_and_captured_are_backpropagation_through_the_whole_unroll": (
        "exact gradient, compiled and captured, float64"
    ),
    "test_captured_is_uncaptured_bit_for_bit": "inner loop: captured equals uncaptured, to the bit",
    "test_captured_updates_are_uncaptured_ones_bit_for_bit": (
        "training: captured equals uncaptured, to the bit"
    ),
    "test_networks_at_once_equal_networks_one_by_one": "networks at once equal networks alone",
    "test_streamed_knots_equal_resident_ones": "streamed knots equal resident ones",
    "test_knots_on_cuda_are_float32": "16-bit knots are float32 on the device",
    "test_augmentation_equals_that_of_the_cpu": "DSA equals the CPU's on the same draws",
    "test_run_with_evaluations": "a run of mct distill with evaluations",
    "test_resumed_run_is_the_uninterrupted_one_bit_for_bit": "a resumed run equals a whole one, to the bit",
    "test_failed_capture_falls_back_and_leaves_the_device_usable": "a failed capture falls back",
    "test_adjoint_that_is_not_finite_is_found": "an adjoint that is not finite is found",
    "test_fewer_activations_instead_of_failing": "fewer activations instead of failing",
    "test_want_of_memory_is_one_line": "out of memory is one line",
}
"""The name of a test to the label of its row. A test that is not listed has a row of its own name."""

FEW = 2
"""Cases of each test that `--scale tiny` runs, enough to prove that it runs and is counted."""


def rows(_context: Context) -> dict[str, str]:
    """Return the rows of the table."""
    return ROWS


def show(_row: str, facts: dict[str, Any], _all: dict[str, dict[str, Any]]) -> str:
    """Return the text of a row."""
    counts = [f"{facts[kind]} {kind}" for kind in ("passed", "failed", "skipped") if facts.get(kind)]
    why = f"; {facts['why']}" if "why" in facts else ""
    return f"{', '.join(counts)} in {facts['seconds']:.1f} s{why}"


def run(context: Context) -> None:
    """Run the tests."""
    import pytest

    os.environ["MCT_TEST_DEVICE"] = context.device
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # some of them ask for deterministic algorithms
    os.environ.pop("TORCHINDUCTOR_CACHE_DIR")  # tests of compiling have their own
    words = ["-m", "cuda", "-q", "-W", "ignore", "-p", "no:cacheprovider", *_files()]
    if context.full:
        words += ["-n", str(max(1, min(10, (os.cpu_count() or 1) // 2)))] if _has_xdist() else []
    else:
        words += ["-p", "no:xdist"]
    words += ["-k", context.tests] if context.tests else []
    os.chdir(ROOT)
    plugins = [Counting(context)] if context.full else [Counting(context), Sample(FEW)]
    code = pytest.main(words, plugins=plugins)
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise SystemExit(f"pytest ended with {code!r}")


def _files() -> list[str]:
    """Return the files with such tests; those that start processes come first, since they take longest."""
    texts = {file: file.read_text() for file in (ROOT / "tests" / "test_mct").rglob("test_*.py")}
    found = [file for file, text in texts.items() if "mark.cuda" in text]
    return [str(file) for file in sorted(found, key=lambda file: ("subprocess" not in texts[file], file))]


def _has_xdist() -> bool:
    try:
        import xdist  # noqa: F401
    except ImportError:
        return False
    return True


class Sample:
    """Runs only the first cases of each test function."""

    def __init__(self, cases: int) -> None:
        self._cases = cases

    def pytest_collection_modifyitems(self, config: Any, items: list[Any]) -> None:
        """Leave out the others."""
        seen: Counter[Any] = Counter()
        kept, left = [], []
        for item in items:
            seen[item.function] += 1
            (kept if seen[item.function] <= self._cases else left).append(item)
        config.hook.pytest_deselected(items=left)
        items[:] = kept


class Counting:
    """Writes a line for a test function whenever one of its cases has ended."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._counts: dict[str, Counter[str]] = {}
        self._seconds: Counter[str] = Counter()
        self._why: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Count a case: what its call says, or a setup or teardown that did not pass."""
        name = report.nodeid.rpartition("::")[2].partition("[")[0]
        self._seconds[name] += report.duration
        if report.when != "call" and report.outcome == "passed":
            return
        counts = self._counts.setdefault(name, Counter())
        counts[report.outcome] += 1
        if report.outcome == "failed" and name not in self._why:
            crash = getattr(report.longrepr, "reprcrash", None)
            text = " ".join(str(crash.message if crash else report.longrepr).split())
            self._why[name] = f"{report.nodeid.rpartition('::')[2]}: {text[:300]}"
        facts: dict[str, Any] = {**counts, "seconds": round(self._seconds[name], 2)}
        if name in self._why:
            facts["why"] = self._why[name]
        self._context.emit(name, **facts)
