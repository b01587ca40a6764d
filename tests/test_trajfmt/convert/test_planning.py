"""What a conversion would write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.planning import plan
from trajfmt.convert.run import convert
from trajfmt.errors import SourceError, TrajfmtError

torch = pytest.importorskip("torch")
from tests.helpers.conversion import SMALL, save, size, theta  # noqa: E402
from tests.helpers.walks import write_walks  # noqa: E402
from trajfmt import UsageError  # noqa: E402
from trajfmt.convert.events import Event  # noqa: E402


def test_plan_estimates_the_size_within_two_percent(paper: Path, tmp_path: Path) -> None:
    """For the paper's network and 51 timesteps the estimate is within 2% of the real size."""
    for name, options in (("a.mct", {}), ("b.mct", {"knots": (6, 25)}), ("c.mtt", {})):
        before = sorted(tmp_path.iterdir())
        found = plan(paper, tmp_path / name, ConvertOptions(**options))
        assert sorted(tmp_path.iterdir()) == before
        convert(paper, tmp_path / name, ConvertOptions(**options))
        assert found.trajectories == 1
        assert found.timesteps == (51,)
        assert abs(found.bytes - size(tmp_path / name)) <= 0.02 * size(tmp_path / name)
        assert found.source_bytes == (paper / "replay_buffer_0.pt").stat().st_size


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mct", {}),
        ("b.mct", {"gram": True, "knots": (1, 2)}),
        ("c.mct", {"shard_bytes": 50_000}),
        ("d.mtt", {}),
    ],
    ids=["convex", "gram", "shards", "full"],
)
def test_plan_counts_headers_tables_and_manifest(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    """Of small networks they are a large part of the bundle, which the estimate has to 2%."""
    source = save(tmp_path / "src", [theta(seed, 6, SMALL) for seed in range(3)])
    found = plan(source, tmp_path / name, ConvertOptions(**options))
    convert(source, tmp_path / name, ConvertOptions(**options))
    assert abs(found.bytes / size(tmp_path / name) - 1) < 0.02
    assert found.codec is None


def test_plan_names_a_codec(paper: Path, tmp_path: Path) -> None:
    """The estimate is that before compression."""
    plain, packed = (plan(paper, tmp_path / "a.mtt", ConvertOptions(codec=name)) for name in ("none", "zstd"))
    assert (plain.codec, packed.codec) == (None, "zstd")
    assert packed.bytes == plain.bytes


def test_plan_reports_what_would_be_left_out(tmp_path: Path) -> None:
    """A plan counts what converts and lists what does not."""
    source = save(tmp_path / "src", [theta(0), theta(1, 1), theta(2)], 3)
    found = plan(source, tmp_path / "out.mct", ConvertOptions(keep_going=True))
    assert found.trajectories == 2
    assert len(found.skipped) == 1
    assert "trajectory 1" in found.skipped[0]
    assert any("start at 0" in text for text in found.notices)
    with pytest.raises(SourceError):
        plan(source, tmp_path / "out.mct")
    assert [p.name for p in tmp_path.iterdir()] == ["src"]


@pytest.mark.parametrize(
    ("options", "exists", "words"),
    [
        ({"knots": (99,)}, False, "inserted waypoints must lie between 0 and T"),
        ({}, True, "already exists"),
        ({"smooth": True}, False, "smoothing needs inserted waypoints"),
    ],
    ids=["knots beyond T", "destination exists", "smooth without knots"],
)
def test_plan_refuses_what_the_conversion_refuses(
    tmp_path: Path, options: dict[str, Any], exists: bool, words: str
) -> None:
    """A dry run that succeeds is a promise."""
    source, target = save(tmp_path / "src", [theta(0)]), tmp_path / "out.mct"
    if exists:
        target.mkdir()
    for look in (plan, convert):
        with pytest.raises(TrajfmtError, match=words):
            look(source, target, ConvertOptions(**options))


def test_sizes_and_progress_count_a_bundles_files(tmp_path: Path) -> None:
    """A plan compares with all files of the source, and progress ends at its total."""
    source = write_walks(tmp_path / "s.mtt", 5)
    files = sum(file.stat().st_size for file in source.glob("*/*"))
    found = plan(source, tmp_path / "o.mct")
    assert found.source_bytes == files
    events: list[Event] = []
    convert(source, tmp_path / "o.mct", on_event=events.append)
    assert (events[-1].done, events[-1].total) == (files, files)
    assert abs(found.bytes / size(tmp_path / "o.mct") - 1) < 0.05


@pytest.mark.parametrize(
    "options", [ConvertOptions(append=True), ConvertOptions()], ids=["nothing to append to", "no parent"]
)
def test_plan_refuses_a_destination_that_cannot_be(tmp_path: Path, options: ConvertOptions) -> None:
    """As the conversion would."""
    source = write_walks(tmp_path / "s.mtt", 1)
    target = tmp_path / ("o.mct" if options.append else "missing/o.mct")
    for look in (plan, convert):
        with pytest.raises(UsageError, match="no such"):
            look(source, target, options)
