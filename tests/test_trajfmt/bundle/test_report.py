"""What `inspect` shows: storage that adds up, eqs. 11 and 12, layers against direct arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import trajfmt
from tests.helpers import claims
from trajfmt import ParamLayout, Provenance
from trajfmt.bundle.report import SCHEMA, layer_reports, summarize
from trajfmt.schema.provenance import SourceFile

Array = NDArray[np.generic]
Write = Callable[..., Path]
Walk = Callable[..., Array]


def _disk(path: Path, part: str = "") -> int:
    return sum(file.stat().st_size for file in (path / part).rglob("*") if file.is_file())


def test_storage_of_a_convex_bundle(layout: ParamLayout, walk: Walk, write_bundle: Write) -> None:
    """Parts add up to the bytes on disk; eq. 11 is K W, eq. 12 knots W + K beta, over all trajectories."""
    path = write_bundle(layout, walk(layout), walk(layout, timesteps=9, seed=1), knots=(2, 3))
    summary = summarize(path)
    storage = summary.storage
    assert storage.total == sum(storage.parts.values()) == _disk(path)
    assert storage.parts == {
        "knots": _disk(path, "knots"),
        "tables": _disk(path, "tables"),
        "pieces": _disk(path, "pieces"),
        "manifest": (path / "manifest.json").stat().st_size,
    }
    assert storage.eq11 == storage.buffer == (6 + 9) * 36
    assert storage.eq12 == 2 * 4 * 36 + (6 + 9) * 3 * 8
    assert storage.source is None
    assert storage.ratio == pytest.approx(storage.total / storage.buffer)
    assert (summary.schema, summary.kind, summary.encoding) == (SCHEMA, "bundle", "convex")
    assert (summary.trajectories, summary.timesteps, summary.knots) == (2, (6, 9), None)
    assert (summary.parameters, summary.tensors, summary.layers, summary.files) == (9, 3, 3, 5)


@pytest.mark.parametrize("codec", ["none", "zstd", "archive"])
def test_storage_of_a_full_bundle(codec: str, layout: ParamLayout, walk: Walk, write_bundle: Write) -> None:
    """No knots, no eq. 12."""
    path = write_bundle(layout, walk(layout), encoding="full", codec=codec)
    summary = summarize(path)
    assert summary.storage.total == _disk(path)
    assert set(summary.storage.parts) == {"theta", "pieces", "manifest"}
    assert (summary.storage.eq11, summary.storage.eq12) == (6 * 36, None)
    assert (summary.codec, summary.knots, summary.smoothed) == (codec, None, None)


def test_ratio_is_to_the_source_files_where_they_are_known(
    layout: ParamLayout, walk: Walk, write_bundle: Write
) -> None:
    """MTT's files of about the buffer's size are what was saved; others are not compared with."""
    for name, size, expected in (
        ("replay_buffer_0.pt", 300, 300),
        ("replay_buffer_0.pt", 100, None),
        ("replay_buffer_0.pt", 2**30, None),
        ("manifest.json", 300, None),
    ):
        provenance = Provenance(sources=[SourceFile(name, size, "0" * 64)])
        path = write_bundle(layout, walk(layout), name=f"{name}{size}", provenance=provenance)
        storage = summarize(path).storage
        assert storage.source == expected
        assert storage.ratio == pytest.approx(storage.total / (expected or 6 * 36))


def test_summary_needs_the_manifest_only(layout: ParamLayout, walk: Walk, write_bundle: Write) -> None:
    """Figures are the same without the files, and identity is the manifest's hash."""
    path = write_bundle(layout, walk(layout), knots=(2,))
    before = summarize(path)
    for file in path.glob("*/*"):
        file.unlink()
    assert summarize(path) == before
    assert before.knots == (0, 2, 5)
    assert before.sha256 == trajfmt.open(path).sha256


@pytest.mark.parametrize("layers", ["tensor", "module", "all"])
@pytest.mark.parametrize("options", [{}, {"encoding": "full"}, {"encoding": "full", "codec": "archive"}])
def test_layers_against_direct_arithmetic(
    layers: Any, options: dict[str, Any], layout: ParamLayout, walk: Walk, write_bundle: Write
) -> None:
    """Path length, displacement, share and progress, the same from both encodings."""
    layout = layout.regroup(layers)
    theta = walk(layout, timesteps=8)
    theta[:, 8] = 1.5  # `scale` never moves
    with trajfmt.open(write_bundle(layout, theta, **options)) as bundle:
        reports = layer_reports(bundle[0])
    wide = theta.astype(np.float64)
    assert [report.name for report in reports] == [layer.name for layer in layout.layers]
    assert sum(report.share for report in reports) == pytest.approx(1)
    for report, layer in zip(reports, layout.layers, strict=True):
        own = wide[:, [i for p in layer.parameters for i in range(layout.offsets[p], layout.offsets[p + 1])]]
        norms = np.linalg.norm(np.diff(own, axis=0), axis=1)
        assert report.elements == own.shape[1]
        assert report.path_length == pytest.approx(norms.sum(), rel=1e-12)
        assert report.displacement == pytest.approx(np.linalg.norm(own[-1] - own[0]), rel=1e-12)
        if norms.any():
            expected = np.concatenate([[0], norms.cumsum() / norms.sum()])
            assert report.beta == pytest.approx(expected.tolist(), abs=1e-12)


def test_still_layer_is_reported_alike_from_both_encodings(
    layout: ParamLayout, walk: Walk, write_bundle: Write
) -> None:
    """The definition of beta does not depend on how the trajectory is stored."""
    theta = walk(layout, timesteps=5)
    theta[:, 8] = 1.5
    betas = []
    for encoding in ("convex", "full"):
        with trajfmt.open(write_bundle(layout, theta, encoding=encoding)) as bundle:
            betas.append(layer_reports(bundle[0])[2].beta)
    assert betas == [(0, 0.25, 0.5, 0.75, 1)] * 2


@pytest.mark.parametrize("folders", [20, 21, 1000])
def test_many_folders_are_summed(folders: int, tmp_path: Path) -> None:
    """The twenty largest folders are named, and nothing is lost in the sum; one is called `others` itself."""
    names = ["others", *(f"f{i}" for i in range(1, folders))]
    files = [{"path": f"{name}/a.h5", "bytes": i + 1, "sha256": "0" * 64} for i, name in enumerate(names)]
    storage = summarize(claims.put(tmp_path / "many", claims.manifest("convex", files=files))).storage
    assert sum(storage.parts.values()) == storage.total
    assert storage.total - storage.parts["manifest"] == folders * (folders + 1) // 2
    assert len(storage.parts) == (21 if folders == 20 else 22)
    assert storage.parts[f"f{folders - 1}"] == folders


def test_source_files_count_within_exact_bounds(layout: ParamLayout, walk: Walk, write_bundle: Write) -> None:
    """From the bytes of the weights to half as much again, and a MiB for what pickles add."""
    for number, (sizes, expected) in enumerate(
        (
            ((216,), 216),
            ((215,), None),
            ((216 * 3 // 2 + 2**20,), 216 * 3 // 2 + 2**20),
            ((216 * 3 // 2 + 2**20 + 1,), None),
            ((100, 116), 216),
        )
    ):
        sources = [SourceFile(f"{n}.pt", size, "0" * 64) for n, size in enumerate(sizes)]
        path = write_bundle(layout, walk(layout), name=f"{number}", provenance=Provenance(sources=sources))
        assert summarize(path).storage.source == expected
    sources = [SourceFile("0.pt", 216, "0" * 64)]
    for name, provenance in (
        ("cut", Provenance(sources=sources, first_timestep=1)),
        ("mixed", Provenance(sources=[*sources, SourceFile("1.bin", 1, "0" * 64)])),
    ):
        path = write_bundle(layout, walk(layout), name=name, provenance=provenance)
        assert summarize(path).storage.source is None


def test_displacement_of_a_layer_of_several_blocks(walk: Walk, write_bundle: Write) -> None:
    """Every element counts once."""
    layout = ParamLayout.of([("w", (2**18 + 5,)), ("b", (3,))])
    theta = walk(layout, timesteps=2)
    with trajfmt.open(write_bundle(layout, theta)) as bundle:
        reports = layer_reports(bundle[0])
    wide = theta.astype(np.float64)
    for report, part in zip(reports, (slice(0, -3), slice(-3, None)), strict=True):
        assert report.displacement == pytest.approx(np.linalg.norm(wide[1, part] - wide[0, part]), rel=1e-12)
