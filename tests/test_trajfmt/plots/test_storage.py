"""The size of bundles as a figure and as a table."""

import pytest

from trajfmt.bundle.report import summarize
from trajfmt.errors import UsageError
from trajfmt.plots import Page, render
from trajfmt.plots.storage import Size, Storage, storage


def test_sizes_are_those_of_the_files(write_bundle, layout, walk) -> None:
    """All files of a bundle, and eq. 11: timesteps times trajectories times the bytes of the weights."""
    theta = walk(layout, 7)
    path = write_bundle(layout, theta, theta * 2)
    found = storage([path])
    files = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    assert found.sizes == (
        Size(name="out.mct", trajectories=2, bundle=files, every_timestep=2 * 7 * layout.nbytes),
    )
    assert found.table().csv().decode() == (
        f"bundle,trajectories,every_timestep_bytes,bundle_bytes\nout.mct,2,{2 * 7 * layout.nbytes},{files}\n"
    )
    assert summarize(path).storage.eq11 == found.sizes[0].every_timestep


def test_figure_grows_with_the_bundles() -> None:
    """Bytes and gigabytes have their own units; nothing to draw is an error."""
    small = Size(name="a.mct", trajectories=1, bundle=120, every_timestep=0)
    large = Size(name="b.mct", trajectories=100, bundle=3 * 10**9, every_timestep=10**11)
    one, two = Storage(sizes=(small,)), Storage(sizes=(small, large))
    assert two.size[1] > one.size[1]
    for plot in (one, two):
        assert render(plot, "png", Page(dpi=50)).startswith(b"\x89PNG")
    with pytest.raises(UsageError, match="no bundle was given"):
        storage([])
