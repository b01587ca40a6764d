"""The table of layouts, and that each is recognised by more than a short path."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trajfmt
from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.run import convert
from trajfmt.sources.discovery import open_source
from trajfmt.sources.table import LAYOUTS

torch = pytest.importorskip("torch")
from tests.foreign import family, towers  # noqa: E402  # the generators need torch


def test_every_layout_has_a_name_of_its_own_and_one_line_about_it() -> None:
    """`--from` finds each layout by its name, in any case."""
    names = [layout.name for layout in LAYOUTS]
    assert len(set(names)) == len(names)
    for layout in LAYOUTS:
        assert layout.name == layout.name.lower()
        assert "\n" not in layout.title + layout.files
        assert layout.title
        assert layout.files


@pytest.mark.parametrize("name", [layout.name for layout in LAYOUTS])
def test_a_layout_that_does_not_fit_is_one_line(tmp_path: Path, name: str) -> None:
    """Any `--from` on an empty folder: an error of ours that names the folder, nothing at the destination."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(trajfmt.TrajfmtError) as caught:
        convert(tmp_path / "empty", tmp_path / "out.mtt", ConvertOptions(layout=name))
    assert "\n" not in str(caught.value)
    assert "empty" in str(caught.value)
    assert not (tmp_path / "out.mtt").exists()


@pytest.mark.parametrize("parts", [(), ("a",), ("a", "b"), ("buffer", "ConvNet"), ("cifar10_x", "y")])
@pytest.mark.parametrize("layout", LAYOUTS, ids=[layout.name for layout in LAYOUTS])
def test_looking_at_short_paths_recognises_nothing(
    tmp_path: Path, layout: Any, parts: tuple[str, ...]
) -> None:
    """The root, folders right below it, and such that do not exist: no layout, and no error."""
    assert layout.recognise(Path("/", "nowhere", *parts)) is None
    folder = tmp_path.joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    assert layout.recognise(folder) is None
    if layout.name not in ("checkpoints", "step-folders"):  # those look further down
        assert layout.recognise(Path("/")) is None


@pytest.mark.parametrize("write", [family.mtt, family.edf, towers.vl], ids=["mtt", "edf", "vl"])
@pytest.mark.parametrize("above", ["/", "/x", "/x/y"])
def test_folders_near_the_root_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], Any], above: str
) -> None:
    """Each `--from` reads folders that lie near the root without asking for more of them."""
    folder = write(tmp_path).folder
    parts = tuple(part for part in above.split("/") if part)
    readers = [
        module
        for name, module in sys.modules.items()
        if name.startswith("trajfmt.sources.") and hasattr(module, "parts_of")
    ]
    assert len(readers) >= 7
    for module in readers:
        monkeypatch.setattr(module, "parts_of", lambda _folder: parts)
    files = "img_replay_buffer" if write is towers.vl else "replay_buffer"
    names = [layout.name for layout in LAYOUTS if layout.files.startswith(files)]
    assert len(names) >= 2
    for name in names:
        assert open_source(folder, layout=name).parts


@pytest.mark.parametrize("name", ["vl", "lors", "mct-authors", "mct-dense", "step-folders", "bundle"])
def test_a_layout_of_other_files_does_not_fit_a_buffer(tmp_path: Path, name: str) -> None:
    """Told wrong, MTT's files are not converted as something else."""
    folder = family.mtt(tmp_path).folder
    with pytest.raises(trajfmt.TrajfmtError) as caught:
        open_source(folder, layout=name)
    assert "\n" not in str(caught.value)
