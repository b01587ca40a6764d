"""The page of bundles: what it shows, what it says is missing, and texts that try to be markup."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

import trajfmt
from tests.helpers.pages import assert_sound, browse, browser, corner
from trajfmt.pages.report import MOST
from trajfmt.reports.bundle import describe
from trajfmt.reports.page import render

HOSTILE = "</style><script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;\u202e\x00"
"""A name that tries to close what it is in, to run a script, and to turn the text around."""


def _hostile(write_bundle: Any, walk: Any) -> Path:
    """Return a bundle whose names and facts are all hostile."""
    layout = trajfmt.ParamLayout.of([(f"{HOSTILE}.{n}", (2, 3)) for n in range(8)])
    provenance = trajfmt.Provenance(
        dataset=HOSTILE[:-1],
        recipe={HOSTILE[:-1]: HOSTILE[:-1], "lr": 0.01, "decay": True, "none": None},
        model=trajfmt.Model(family="other", channels=3, classes=10),
    )
    path: Path = write_bundle(layout, walk(layout), gram=True, provenance=provenance, name="hostile <b>.mct")
    return path


def test_facts_are_shown_with_where_they_are_from(layout: Any, walk: Any, write_bundle: Any) -> None:
    """Data set, preprocessing and recipe, each with how it is known, and what is unknown."""
    provenance = trajfmt.Provenance(
        dataset="CIFAR10",
        preprocessing=trajfmt.Preprocessing(kind="normalize", mean=[0.5, 0.25, 1 / 3], std=[1.0, 1.0, 1.0]),
        recipe={"lr": 0.01},
        timestep=trajfmt.TimestepUnit(kind="epoch"),
        known_from={"dataset": "flag", "preprocessing": "path"},
    )
    path = write_bundle(layout, walk(layout), provenance=provenance, gram=True)
    page = assert_sound(render([describe(path)]))
    for words in (
        "CIFAR10 an option of the user",
        "kind normalize, mean [0.5, 0.25, 0.3333], std [1, 1, 1] the name of a folder",
        "recipe: lr 0.01 not recorded",
        "timestep kind epoch not recorded",
        "network unknown -",
        "No source file is recorded",
        "What convexifying leaves out",
        "every dot is a timestep",
    ):
        assert words.lower() in " ".join(page.text.split()).lower()
    assert "--gram" not in page.text


def test_missing_things_are_said(layout: Any, walk: Any, write_bundle: Any) -> None:
    """No Gram matrix, unknown step norms, other lengths: each has its remark."""
    path = write_bundle(layout, walk(layout), walk(layout, 4))
    report = describe(path)
    text = " ".join(assert_sound(render([report])).text.split())
    assert "No Gram matrix is stored" in text
    assert "traj convert --gram" in text
    assert "Not part of means and ranges: 1 trajectory" in text
    assert report.shape is not None
    assert report.curves is not None
    bare = dataclasses.replace(
        report,
        shape=dataclasses.replace(
            report.shape, step_norms=None, path_length=None, path_over_displacement=None, layer_lengths=None
        ),
        curves=dataclasses.replace(report.curves, step_norms=None, layer_lengths=None),
        summary=dataclasses.replace(report.summary, unknown_steps=1, free=2, newer=True),
    )
    text = " ".join(assert_sound(render([bare])).text.split())
    for words in ("step norms are unknown", "2 trajectories are free", "A later version wrote this bundle"):
        assert words in text
    many_knots = dataclasses.replace(report, shape=None)
    assert "at most 257 knots" in assert_sound(render([many_knots])).text


def test_a_path_that_stands_still(layout: Any, walk: Any, write_bundle: Any) -> None:
    """A layer and a path of length 0 have no ratio, and are drawn."""
    theta = walk(layout)
    theta[:, :6] = theta[0, :6]
    assert_sound(render([describe(write_bundle(layout, theta, gram=True))]))
    report = describe(write_bundle(layout, theta, gram=True, name="b.mct"))
    assert report.shape is not None
    still = dataclasses.replace(
        report.shape,
        coordinates=((0.0, 0.0),) * 6,
        knot_coordinates=((0.0, 0.0),) * 2,
        explained=(0.0, 0.0),
        displacement=0.0,
        path_over_displacement=float("nan"),
    )
    text = assert_sound(render([dataclasses.replace(report, shape=still)])).text
    assert "The path stands still" in text


def test_a_long_path_is_named_by_its_timesteps(layout: Any, walk: Any, write_bundle: Any) -> None:
    """The last of 400 timesteps is t = 399, though fewer are drawn."""
    page = assert_sound(render([describe(write_bundle(layout, walk(layout, 400)))]))
    assert "t = 399" in page.text
    assert "400 timesteps, of which 257 are shown" in page.text


def test_several_bundles_are_compared(layout: Any, walk: Any, write_bundle: Any) -> None:
    """Sizes side by side, facts that differ and those that do not, and a section for the first ten."""
    one = write_bundle(layout, walk(layout), name="one.mct", provenance=trajfmt.Provenance(dataset="A"))
    two = write_bundle(
        layout, walk(layout), name="two.mtt", encoding="full", provenance=trajfmt.Provenance(dataset="B")
    )
    page = assert_sound(render([describe(one), describe(two)]))
    text = " ".join(page.text.split())
    assert "Facts that differ bundle data set one.mct A two.mtt B" in text
    assert "The same in all: network, preprocessing, layers" in text
    report = describe(one)
    page = assert_sound(render([report] * (MOST + 3)))
    assert "3 more bundles in the comparison only" in page.text
    assert "agree in all recorded facts" in page.text


def test_distance_left_out_is_explained(layout: Any, walk: Any, write_bundle: Any) -> None:
    """What the number counts stands beside it, for a bundle of either encoding and in their comparison."""
    convex = describe(write_bundle(layout, walk(layout), gram=True, name="a.mct"))
    full = describe(write_bundle(layout, walk(layout), encoding="full", name="a.mtt"))
    text = " ".join(assert_sound(render([convex, full])).text.split())
    assert "Distance left out" in text
    assert "Distance that two knots would leave out" in text
    assert text.count("root mean square, as a share of the displacement") == 3
    assert "of a full bundle: what a conversion with two knots would leave out" in text


def test_equal_bundles_give_equal_pages(layout: Any, walk: Any, write_bundle: Any) -> None:
    """No date, no random name."""
    path = write_bundle(layout, walk(layout), gram=True)
    assert render([describe(path)]) == render([describe(path)])


def test_hostile_names_stay_text(walk: Any, write_bundle: Any) -> None:
    """Elements are those of the same page with plain names."""
    report = describe(_hostile(write_bundle, walk))
    page = assert_sound(render([report, report]))
    assert page.all("img") == []
    assert "<script>alert(1)</script>" in page.text
    assert "\\u202e" in page.text
    assert "\u202e" not in page.text


def test_pages_stay_small(walk: Any, write_bundle: Any) -> None:
    """Bundles with long names and long recipes fill less than 2 MB, however many there are."""
    wide = trajfmt.ParamLayout.of([("&" * 1000 + str(n), (1,)) for n in range(30)])
    recipe: dict[str, Any] = {"<" * 900 + str(n): "&" * 900 for n in range(60)}
    provenance = trajfmt.Provenance(dataset="&" * 1000, recipe=recipe)
    path = write_bundle(wide, walk(wide, 60), walk(wide, 60, seed=1), knots=[50], provenance=provenance)
    report = describe(path)
    plain = dataclasses.replace(report.summary, provenance=trajfmt.Provenance())
    page = assert_sound(render([report] * 120 + [dataclasses.replace(report, summary=plain)]))
    shown = len([one for one in page.all("section") if (one.get("id") or "").endswith("-path")])
    assert 3 <= shown < MOST
    assert f"{121 - shown} more bundles in the comparison only" in page.text
    assert "21 more bundles: see the JSON report" in page.text
    assert "more facts differ" in page.text


@pytest.mark.skipif(browser() is None, reason="needs Chromium")
def test_in_a_browser(tmp_path: Path, walk: Any, write_bundle: Any) -> None:
    """A hostile page is shown without a word on the console, and dark where the reader prefers that."""
    report = describe(_hostile(write_bundle, walk))
    path = tmp_path / "page.html"
    path.write_bytes(render([report, report]))
    dom, console = browse(tmp_path / "user", path, "--dump-dom")
    assert console == ""
    assert "&lt;script&gt;alert(1)" in dom
    assert "<script" not in dom
    assert "onerror=" not in dom.replace("onerror=alert(2)&gt;", "")
    shot = tmp_path / "dark.png"
    dark = "--blink-settings=preferredColorScheme=0"
    _, console = browse(tmp_path / "user", path, "--window-size=400,300", f"--screenshot={shot}", dark)
    assert console == ""
    assert corner(shot) == (0x10, 0x14, 0x1A)
