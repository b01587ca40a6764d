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
from trajfmt.encodings.encoder import ConvexEncoder, encoder_for, encoder_of

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
    """What `encoder_of` reads from the manifest is what the bundle was created with."""
    given: dict[str, Any] = {"encoding": "convex", "knots": (), "smooth": False, "codec": "none"} | options
    assert encoder_for(layout, **given).settings == settings
    with trajfmt.open(write_bundle(layout, walk(layout), **options)) as bundle:
        encoder = encoder_of(bundle.manifest)
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
    given: dict[str, Any] = {"encoding": "convex", "knots": (), "smooth": False, "codec": "none"} | options
    with pytest.raises(UsageError, match=words):
        encoder_for(layout, **given)


def test_inserted_knots_must_lie_within_the_trajectory(layout: ParamLayout) -> None:
    """The last one before T, at 3 of 0 to 4; a single timestep is too few for any settings."""
    encoder = ConvexEncoder((1, 3), smooth=False)
    encoder.check(ArrayTrajectory(np.zeros((5, layout.size), "<f4"), layout))
    with pytest.raises(SourceError, match=r"between 0 and T = 3 of the trajectory, got \(1, 3\)") as caught:
        encoder.check(ArrayTrajectory(np.zeros((4, layout.size), "<f4"), layout))
    assert caught.value.reason == "too_few_timesteps"
    for each in (ConvexEncoder((), smooth=False), encoder_for(layout, "full", (), False, "none")):
        with pytest.raises(SourceError, match="two timesteps or more, got 1"):
            each.check(ArrayTrajectory(np.zeros((1, layout.size), "<f4"), layout))
