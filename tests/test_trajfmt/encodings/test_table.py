"""Settings of an encoding: in words, refused where they do not fit, and continued from a bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import trajfmt
from trajfmt import ArrayTrajectory, ParamLayout, SourceError, UsageError
from trajfmt.encodings.parts.encoding import Options
from trajfmt.encodings.table import ENCODINGS, encoder_for, encoding_of_manifest, encoding_of_path

Array = NDArray[np.generic]


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ({}, "two endpoints"),
        ({"gram": True}, "two endpoints, Gram matrix"),
        ({"knots": (1, 3), "smooth": True}, "knots 1,3, smoothed"),
        ({"encoding": "full"}, "codec none"),
        ({"encoding": "full", "codec": "archive"}, "codec archive"),
    ],
)
def test_a_bundle_is_continued_with_its_own_settings(
    options: dict[str, Any],
    settings: str,
    layout: ParamLayout,
    walk: Callable[..., Array],
    write_bundle: Callable[..., Path],
) -> None:
    """What follows from the manifest is what the bundle was created with: equal, and in the same words."""
    given = encoder_for(*_asked(options), layout)
    assert given.settings == settings
    with trajfmt.open(write_bundle(layout, walk(layout), **options)) as bundle:
        encoder = encoding_of_manifest(bundle.manifest).continued(bundle.manifest, Options())
        assert encoder == given
        assert encoder.settings == settings
        assert encoder.features == bundle.manifest.requires_read


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"codec": "zstd"}, "`codec` is for full bundles"),
        ({"encoding": "full", "knots": (2,)}, "for convexified bundles"),
        ({"encoding": "full", "gram": True}, "for convexified bundles"),
        ({"encoding": "sparse"}, "must be convex or full, got 'sparse'"),
        ({"smooth": True}, "smoothing needs inserted waypoints"),
        ({"shard_bytes": 0}, "`shard_bytes` must be 1 or more, got 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    options: dict[str, Any], words: str, layout: ParamLayout
) -> None:
    """One line that names the setting."""
    with pytest.raises(UsageError, match=words):
        encoder_for(*_asked(options), layout)


def test_inserted_knots_must_lie_within_the_trajectory(layout: ParamLayout) -> None:
    """The last one before T, at 3 of 0 to 4; a single timestep is too few for any settings."""
    encoder = encoder_for("convex", Options(knots=(1, 3)), layout)
    encoder.check(ArrayTrajectory(np.zeros((5, layout.size), "<f4"), layout))
    with pytest.raises(SourceError, match=r"between 0 and T = 3 of the trajectory, got \(1, 3\)") as caught:
        encoder.check(ArrayTrajectory(np.zeros((4, layout.size), "<f4"), layout))
    assert caught.value.reason == "too_few_timesteps"
    for name in ENCODINGS:
        with pytest.raises(SourceError, match="at least two timesteps, got 1"):
            encoder_for(name, Options(), layout).check(
                ArrayTrajectory(np.zeros((1, layout.size), "<f4"), layout)
            )


def test_settings_are_compared_by_value(layout: ParamLayout) -> None:
    """What may share a bundle is equal; how files are cut and types are rounded does not matter."""
    plain = encoder_for("convex", Options(), layout)
    assert plain == encoder_for("convex", Options(shard_bytes=7, cast=True), layout)
    others = (Options(knots=(1,)), Options(gram=True), Options(knots=(1,), smooth=True))
    assert len({plain, *(encoder_for("convex", options, layout) for options in others)}) == 4
    assert plain.with_smoothed(True) != plain
    full = [encoder_for("full", Options(codec=codec), layout) for codec in ("none", "zstd", "archive")]
    assert len({*full, plain}) == 4
    assert full[0].with_smoothed(True) == full[0]


@pytest.mark.parametrize(
    "options",
    [{}, {"knots": (2,), "gram": True}, {"encoding": "full"}],
    ids=["two endpoints", "Gram matrix", "full"],
)
def test_size_is_what_a_trajectory_adds(
    options: dict[str, Any],
    layout: ParamLayout,
    walk: Callable[..., Array],
    write_bundle: Callable[..., Path],
) -> None:
    """The files and the manifest together, with headers, which are most of it here."""
    thetas = [walk(layout, 5), walk(layout, 5)[::-1]]
    expected = encoder_for(*_asked(options), layout).size(ArrayTrajectory(thetas[0], layout), layout)
    suffix = "mtt" if options.get("encoding") else "mct"
    paths = [write_bundle(layout, *thetas[:n], name=f"{n}.{suffix}", **options) for n in (1, 2)]
    one, two = (sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) for path in paths)
    assert abs(expected / (two - one) - 1) < 0.2


def test_the_suffix_of_a_path_names_the_encoding() -> None:
    """`.mct` and `.mtt`, and nothing else."""
    assert [encoding_of_path(Path(name)).name for name in ("a.mct", "b/c.mtt")] == ["convex", "full"]
    with pytest.raises(UsageError, match=r"a.zip: .*\.mct .*\.mtt"):
        encoding_of_path(Path("a.zip"))


def _asked(options: dict[str, Any]) -> tuple[str, Options]:
    """Return the encoding and the options of `trajfmt.create`'s arguments."""
    rest = {key: value for key, value in options.items() if key != "encoding"}
    return options.get("encoding", "convex"), Options(**rest)


@pytest.mark.parametrize(("timesteps", "stored"), [(2, True), (257, True), (258, False)])
def test_the_gram_matrix_is_part_of_the_estimate_while_it_is_stored(
    layout: ParamLayout, timesteps: int, stored: bool
) -> None:
    """Up to T = 256."""
    source = ArrayTrajectory(np.zeros((timesteps, layout.size), "<f4"), layout)
    one, other = (encoder_for("convex", Options(gram=gram), layout).size(source, layout) for gram in (0, 1))
    assert other - one == (8 * timesteps * (timesteps + 1) + 1000) * stored  # and what HDF5 says of it


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"knots": (1,)}, {"knots": (1,), "cast": True, "shard_bytes": 7}, True),
        ({"knots": (1,)}, {"knots": (2,)}, False),
        ({"knots": (1,)}, {"knots": (1,), "smooth": True}, False),
        ({}, {"gram": True}, False),
        ({"encoding": "full"}, {"encoding": "full", "cast": True}, True),
        ({"encoding": "full"}, {"encoding": "full", "codec": "zstd"}, False),
        ({"encoding": "full", "codec": "zstd"}, {"encoding": "full", "codec": "zstd"}, True),
    ],
)
def test_settings_are_equal_if_bundles_of_both_are(
    layout: ParamLayout, one: dict[str, Any], other: dict[str, Any], same: bool
) -> None:
    """How a source is read and how files are divided may differ from one append to the next."""
    assert (encoder_for(*_asked(one), layout) == encoder_for(*_asked(other), layout)) == same
    wider = ParamLayout.of([("w", (99,))])
    assert (encoder_for(*_asked(one), layout) == encoder_for(*_asked(other), wider)) == same
