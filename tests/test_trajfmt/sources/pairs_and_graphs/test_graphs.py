"""Runs of graph networks, on files that follow their writers, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

import trajfmt
from trajfmt.sources.discovery import open_source

torch = pytest.importorskip("torch")
from tests.foreign import family, graphs  # noqa: E402  # the generators need torch
from tests.foreign.checking import run, same, told  # noqa: E402


@pytest.mark.parametrize(
    ("write", "codebase", "dataset"),
    [
        (graphs.sfgc, "SFGC", "flickr"),
        (graphs.geom, "GEOM", "ogbn-arxiv"),
        (graphs.geom_inductive, "GEOM", "reddit"),
    ],
    ids=["sfgc", "geom", "geom-inductive"],
)
def test_graph_runs_have_ten_epochs_between_timesteps(
    tmp_path: Path, write: Callable[[Path], family.Written], codebase: str, dataset: str
) -> None:
    """Weights bit for bit, names of the convolutions, the unit and the recipe from the run's own log."""
    written = write(tmp_path / "there")
    events = run(written.folder, tmp_path / "out.mtt")
    same(tmp_path / "out.mtt", written.experts)
    with trajfmt.open(tmp_path / "out.mtt") as bundle:
        known = msgspec.to_builtins(bundle.manifest.provenance)
        assert [p.name for p in bundle.layout.parameters] == [
            f"layers.{at}.{kind}" for at in (0, 1) for kind in ("weight", "bias")
        ]
        assert bundle[0].timesteps == 5
    assert known["timestep"] == {"kind": "epoch", "every": 10}
    assert known["dataset"] == dataset
    expected = {"codebase": codebase, "optim": "Adam", "lr_teacher": 0.001, "buffer_model_type": "GCN"}
    assert expected.items() <= known["recipe"].items()
    assert (known["recipe"].get("lam") == 0.8) == (codebase == "GEOM")
    assert (known["known_from"]["timestep"], known["known_from"]["recipe"]) == ("file", "file")
    assert codebase in told(events, "found")[0]


def test_another_interval_is_read_from_the_log(tmp_path: Path) -> None:
    """`--param_save_interval 20` is told by train.log alone."""
    written = graphs.sfgc(tmp_path / "there", every=20)
    assert open_source(written.folder).provenance.timestep == trajfmt.TimestepUnit(kind="epoch", every=20)


def test_a_graph_run_without_its_log_keeps_what_is_certain(tmp_path: Path) -> None:
    """Ten epochs are what the writers do; SFGC's and GEOM's folders look alike, so neither is named."""
    written = graphs.sfgc(tmp_path / "there")
    (written.folder / "train.log").unlink()
    known = open_source(written.folder).provenance
    assert (known.timestep.every, known.recipe) == (10, None)
    assert known.known_from == {"timestep": "layout"}
    assert open_source(written.folder, layout="sfgc").provenance.recipe == {"codebase": "SFGC"}


@pytest.mark.parametrize(
    "value", ["param_save_interval=10", f"teacher_epochs={10**30}", "lam=1e999", r"optim='\ud800'"]
)
def test_an_argument_that_no_bundle_can_hold_is_left_out(tmp_path: Path, value: str) -> None:
    """The log is a stranger's: what it says must not stop the conversion."""
    written = graphs.sfgc(tmp_path / "there")
    (written.folder / "train.log").write_text(f"args = Namespace(teacher_nlayers=2, {value})\n")
    run(written.folder, tmp_path / "out.mct")
    with trajfmt.open(tmp_path / "out.mct") as bundle:
        assert bundle.manifest.provenance.recipe == {"codebase": "SFGC", "teacher_nlayers": 2}
        assert bundle.manifest.provenance.timestep.every == 10


@pytest.mark.parametrize("value", ["'10'", "10.0", "0", "-5", "True", "None", "10**30", str(10**30)])
def test_an_interval_of_no_use_is_not_taken_for_ten(tmp_path: Path, value: str) -> None:
    """What the log says is remarked on, and the distance between timesteps is not recorded."""
    written = graphs.sfgc(tmp_path / "there")
    (written.folder / "train.log").write_text(
        f"args = Namespace(optim='Adam', param_save_interval={value})\n"
    )
    events = run(written.folder, tmp_path / "out.mtt")
    with trajfmt.open(tmp_path / "out.mtt") as bundle:
        known = bundle.manifest.provenance
    assert known.timestep is None
    assert known.recipe == {"codebase": "SFGC", "optim": "Adam"}
    (text,) = (text for text in told(events, "notice") if "param_save_interval" in text)
    assert text.startswith("train.log says param_save_interval=")


def _log(folder: Path, *lines: str) -> None:
    (folder / "train.log").write_text("".join(f"2024 args = Namespace({line})\n" for line in lines))


def test_what_two_starts_say_differently_is_not_recorded(tmp_path: Path) -> None:
    """The remark names it, and what both say is kept, wherever in the log the second one begins."""
    written = graphs.sfgc(tmp_path / "there")
    one = "param_save_interval=20, dataset='flickr', optim='SGD', lr_teacher=0.1, T=3"
    _log(written.folder, one, "loss" * 30_000, one.replace("SGD", "Adam").replace("0.1", "0.5"))
    found = open_source(written.folder)
    assert found.notices[-1] == (
        "train.log has lines of several starts, which differ in optim ('SGD', 'Adam'), lr_teacher (0.1, 0.5):"
        " none of these is recorded"
    )
    assert found.provenance.recipe == {"codebase": "SFGC", "T": 3}
    assert found.provenance.timestep.every == 20


def test_two_intervals_are_refused(tmp_path: Path) -> None:
    """Nothing tells which start wrote the buffers."""
    written = graphs.sfgc(tmp_path / "there")
    _log(written.folder, "param_save_interval=5, optim='SGD'", "param_save_interval=20, optim='SGD'")
    with pytest.raises(
        trajfmt.SourceError, match=r"train\.log: has lines .* param_save_interval 5, 20; keep"
    ):
        open_source(written.folder)


def test_another_data_set_in_the_log_is_remarked_on(tmp_path: Path) -> None:
    """The name of the folder is used, as of other facts."""
    written = graphs.sfgc(tmp_path / "there")
    _log(written.folder, "param_save_interval=10, dataset='citeseer'")
    found = open_source(written.folder)
    assert found.facts.dataset == "flickr"
    assert found.notices[-1] == (
        "data set: flickr, as the name of a folder says, and not citeseer (known from train.log)"
    )


@pytest.mark.parametrize(
    "line",
    ["args = Namespace(", "args = Namespace(a=)", "args = Namespace(x=" + "(" * 5000 + ")", "\x00\xff", ""],
)
def test_a_log_that_says_nothing_is_no_matter(tmp_path: Path, line: str) -> None:
    """A cut, odd or hostile log line: what it would have told is not known, and nothing else happens."""
    written = graphs.sfgc(tmp_path / "there")
    (written.folder / "train.log").write_text(f"2024 {line}\n", encoding="utf-8")
    assert open_source(written.folder).provenance.recipe is None
