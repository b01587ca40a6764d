"""`traj` on other code's files: what it recognises, what it is told, what it leaves out, and exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import trajfmt

torch = pytest.importorskip("torch")

from tests.foreign import checkpoints, family, graphs, towers  # noqa: E402  # the generators need torch


def notes(done: Any) -> list[str]:
    """Return the remarks on stderr."""
    return [line.removeprefix("note: ") for line in done.err.splitlines() if line.startswith("note: ")]


def test_sources_lists_every_layout(traj: Any) -> None:
    """A line a layout for people, and an object a layout for programs, in the order of preference."""
    done = traj("sources")
    assert done.code == 0
    found = [json.loads(line) for line in traj("sources", "--json").out.splitlines()]
    names = [row["name"] for row in found if row["converted"]]
    assert names[0] == "bundle"
    wanted = "mtt tesla ftd datm pad edf att haba selmatch fyi seqmatch glad mkdt nodistill ltdd videodd"
    assert set(wanted.split()) | {"vl", "lors", "sfgc", "geom", "mct-authors", "checkpoints"} <= set(names)
    assert set(found[0]) == {"schema", "converted", "name", "title", "files"}
    assert all(f"\n{name} " in done.out for name in names)
    foreign = [row for row in found if not row["converted"]]
    assert all(row["title"].split()[-1] in done.out for row in foreign)
    assert set(foreign[0]) == {"schema", "converted", "title", "files", "advice"}


def test_convert_says_what_it_recognised_and_why(traj: Any, tmp_path: Path) -> None:
    """The first remark names the layout, the files and the reason; told, it says so."""
    folder = family.edf(tmp_path / "there").folder
    done = traj("convert", folder, tmp_path / "out.mct")
    assert done.code == 0
    first = notes(done)[0]
    assert first == "EDF buffer, 2 files: there are replay_buffer_<n>.pt, and checkpoint.pt beside them"
    done = traj("convert", folder, tmp_path / "pad.mct", "--from", "PAD")
    assert notes(done)[0] == "PAD buffer, 1 file: named with --from pad"


def test_a_layout_nobody_knows_is_wrong_usage(traj: Any, tmp_path: Path) -> None:
    """Exit 2, and where the names are listed."""
    folder = family.mtt(tmp_path / "there").folder
    done = traj("convert", folder, tmp_path / "out.mct", "--from", "nobody")
    assert done.code == 2
    assert "traj sources" in done.error


@pytest.mark.parametrize("name", ["vl", "mct-authors", "checkpoints"])
def test_a_layout_that_does_not_fit_stops(traj: Any, tmp_path: Path, name: str) -> None:
    """Exit 1 with one line, nothing written."""
    folder = family.mtt(tmp_path / "there").folder
    done = traj("convert", folder, tmp_path / "out.mct", "--from", name)
    assert done.code in (1, 4)
    assert done.error
    assert not (tmp_path / "out.mct").exists()


def test_an_unknown_folder_says_what_was_looked_for(traj: Any, tmp_path: Path) -> None:
    """Convert: exit 1; inspect: not a bundle, exit 3. Both name what was looked for and `traj sources`."""
    (tmp_path / "empty").mkdir()
    for code, command in (
        (1, ["convert", tmp_path / "empty", tmp_path / "x.mct"]),
        (3, ["inspect", "empty"]),
    ):
        done = traj(command[0], tmp_path / "empty", *command[2:])
        assert done.code == code
        for word in ("replay_buffer_<n>.pt", "manifest.json", "`traj sources`"):
            assert word in done.error


def damaged(folder: Path) -> family.Written:
    """Return a folder of three buffers, the second of them cut, beside a file of somebody else's."""
    written = family.run(folder, 6, 2)
    path = folder / "replay_buffer_1.pt"
    path.write_bytes(path.read_bytes()[:5000])
    (folder / "waypoint_buffer_0.pt").write_bytes(b"junk")
    return written


@pytest.mark.parametrize("flag", ["--keep-going", "--skip-bad"])
def test_keep_going_converts_what_is_sound(traj: Any, tmp_path: Path, flag: str) -> None:
    """Exit 0, a line for the damaged file and one for the stranger; the option's former name still works."""
    damaged(tmp_path / "src")
    done = traj("convert", tmp_path / "src", tmp_path / "out.mct", flag)
    assert done.code == 0
    assert len(trajfmt.open(tmp_path / "out.mct")) == 4
    told = notes(done)
    assert sum("left out" in line for line in told) == 2
    assert any("replay_buffer_1.pt" in line and "[source_truncated]" in line for line in told)
    assert any("waypoint_buffer_0.pt" in line for line in told)


def test_without_keep_going_the_first_damaged_file_is_the_error(traj: Any, tmp_path: Path) -> None:
    """Exit 4 and the file's name."""
    damaged(tmp_path / "src")
    done = traj("convert", tmp_path / "src", tmp_path / "out.mct")
    assert done.code == 4
    assert "replay_buffer_1.pt" in done.error


def test_dry_run_and_inspect_report_file_by_file(traj: Any, tmp_path: Path) -> None:
    """Which files are used, with how many trajectories, and the lines of those that are not."""
    damaged(tmp_path / "src")
    for done in (
        traj("inspect", tmp_path / "src", "--json"),
        traj("convert", tmp_path / "src", tmp_path / "out.mct", "--keep-going", "--dry-run", "--json"),
    ):
        assert done.code == 0
        found = json.loads(done.out)
        assert [(file["name"], file["trajectories"], file["also"]) for file in found["files"]] == [
            (f"replay_buffer_{n}.pt", 2, []) for n in (0, 2)
        ]
        assert found["recognised"] == "MTT buffer: there are replay_buffer_<n>.pt"
        assert ["replay_buffer_1.pt" in text for text in found["skipped"]] == [True]
        assert any("waypoint_buffer_0.pt" in text for text in found["notices"])
    shown = traj("inspect", tmp_path / "src")
    assert "replay_buffer_0.pt (2), replay_buffer_2.pt (2)" in shown.out
    assert any("replay_buffer_1.pt" in line for line in notes(shown))
    assert not (tmp_path / "out.mct").exists()


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (towers.vl, ["pair of towers (VL)", "image_encoder nfnet", "flickr (path)"]),
        (graphs.geom, ["GEOM buffer", "every 10 (file)", "lam 0.8"]),
        (family.glad, ["GLaD buffer", "norm batch"]),
        (family.mkdt, ["MKDT buffer", "run run-3"]),
    ],
    ids=["vl", "geom", "glad", "mkdt"],
)
def test_inspect_shows_any_layout(traj: Any, tmp_path: Path, write: Any, words: list[str]) -> None:
    """`traj inspect FOLDER` says what it is and what folders and logs tell."""
    done = traj("inspect", write(tmp_path).folder)
    assert done.code == 0
    for word in words:
        assert word in " ".join(done.out.split())


def test_a_missing_half_is_one_line(traj: Any, tmp_path: Path) -> None:
    """Exit 1 with the name of the file that is not there; inspect shows the pairs and the half."""
    written = towers.vl(tmp_path / "there")
    (written.folder / "txt_replay_buffer_2.pt").unlink()
    done = traj("convert", written.folder, tmp_path / "out.mct")
    assert done.code == 1
    assert "txt_replay_buffer_2.pt is missing" in done.error
    shown = traj("inspect", written.folder)
    assert shown.code == 0
    pairs = [f"img_replay_buffer_{n}.pt + txt_replay_buffer_{n}.pt (1)" for n in (0, 1)]
    assert ", ".join(pairs) in shown.out
    assert any("unpaired_file" in line for line in notes(shown))


class Unknown:
    """A class that no pickle of tensors has."""


def test_an_unknown_class_is_refused_and_left_out_on_demand(traj: Any, tmp_path: Path) -> None:
    """Exit 5 with the class's name; with --keep-going the other files convert and nothing is run."""
    folder = family.run(tmp_path / "src", 4, 2).folder
    torch.save([[Unknown()]], folder / "replay_buffer_0.pt")
    done = traj("convert", folder, tmp_path / "out.mct")
    assert done.code == 5
    assert "Unknown" in done.error
    done = traj("convert", folder, tmp_path / "out.mct", "--keep-going")
    assert done.code == 0
    assert any("[pickle_unsafe]" in line for line in notes(done))
    assert len(trajfmt.open(tmp_path / "out.mct")) == 2


def test_images_given_as_a_buffer_are_named(traj: Any, tmp_path: Path) -> None:
    """Exit 4; the message says what they are and what reads them."""
    torch.save(torch.zeros(10, 3, 32, 32), tmp_path / "images_best.pt")
    done = traj("convert", tmp_path / "images_best.pt", tmp_path / "out.mct")
    assert done.code == 4
    assert "images of shape (10, 3, 32, 32)" in done.error
    assert "mct evaluate" in done.error


def test_the_step_in_a_name_is_stated(traj: Any, tmp_path: Path) -> None:
    """Exit 1 where it is not certain; the option in that line converts, with the stated numbers and unit."""
    states = checkpoints.training(3)[0]
    steps = (1000, 500, 2000)
    folder = checkpoints.plain(tmp_path / "run", dict(zip(steps, states, strict=True)), "gpt2_{}.pt")
    refused = traj("convert", folder, tmp_path / "out.mtt")
    assert refused.code == 1
    option = refused.error.partition("--select '")[2].partition("'")[0]
    assert option == "gpt2_{step}.pt"
    assert not (tmp_path / "out.mtt").exists()
    assert traj("convert", folder, tmp_path / "out.mtt", "--select", option).code == 0
    with trajfmt.open(tmp_path / "out.mtt") as bundle:
        assert bundle[0].numbers == (500, 1000, 2000)
        assert bundle.manifest.provenance.timestep.kind == "step"
        for t, number in enumerate((1, 0, 2)):
            found = bundle.layout.split(bundle[0].at(t))
            assert all((found[name] == states[number][name].numpy()).all() for name in found)
    done = traj("convert", folder, tmp_path / "two.mtt", "--select", "{epoch}{step}.pt")
    assert done.code == 2
    assert "{any} for what else differs" in done.error


def test_buffers_are_not_selected(traj: Any, tmp_path: Path) -> None:
    """Exit 2: the line says what the files are."""
    folder = family.mtt(tmp_path / "there").folder
    done = traj("convert", folder, tmp_path / "out.mct", "--select", "*.pt")
    assert done.code == 2
    assert "this is a buffer of whole trajectories; convert it without --select" in done.error
