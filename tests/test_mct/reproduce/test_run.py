"""Whole reproductions: what is written, what is refused, and that kills change nothing."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")

from benchmarks import reproduce_kills
from benchmarks.reproduce_kills import smallest
from mct.errors import ConfigError, CorruptError, ExistsError
from mct.reproduce import Reproduction
from trajfmt.storage import Lock

TABLES = {f"table2.{kind}" for kind in ("txt", "json", "csv")}
FIGURES = {f"{name}.{kind}" for name in ("fig2",) for kind in ("png", "svg", "csv")}


def test_tables_and_figures_are_written(finished: Reproduction) -> None:
    """All numbers are there, each with the folder of its settings."""
    there = {path.name for path in finished.out.iterdir() if path.is_file()}
    assert there == TABLES | FIGURES | {"plan.json", "fig2.txt"}
    facts = json.loads((finished.out / "table2.json").read_bytes())
    assert [(cell["row"], cell["column"], cell["n"]) for cell in facts["cells"]] == [
        ("discrete", "1", 1), ("discrete", "2", 1), ("continuous", "1", 1), ("continuous", "2", 1)
    ]  # fmt: skip
    for cell in facts["cells"]:
        settings = json.loads((finished.out / "jobs" / cell["settings"] / "job.json").read_bytes())
        assert settings["kind"] == "test"
        assert cell["std_over"] == "networks"
    assert (finished.out / "fig2.png").read_bytes().startswith(b"\x89PNG")
    plan = json.loads((finished.out / "plan.json").read_bytes())
    assert {job["folder"] for job in plan["jobs"]} == {
        path.name for path in (finished.out / "jobs").iterdir()
    }


def test_what_is_finished_is_not_done_again(finished: Reproduction) -> None:
    """Another table of the same runs needs no further job, but its own."""
    assert finished.unfinished() == []
    again = Reproduction.prepare(["fig4"], finished.out, scale=smallest(), seeds=1)
    assert again.unfinished() == []
    more = Reproduction.prepare(["table2"], finished.out, scale=smallest(), seeds=2)
    assert {job.name.rpartition("-seed")[2] for job in more.unfinished()} == {"1", "1-test"}


def test_a_table_is_written_before_anything_is_finished(tmp_path: Path) -> None:
    """Its numbers are dashes; figures without any run are absent."""
    plan = Reproduction.prepare(["table1", "fig1", "fig3", "fig5"], tmp_path / "out", scale=smallest())
    plan.out.mkdir()
    files = {path.name for path in plan.write_report()}
    assert files == {"table1.txt", "table1.json", "table1.csv", "fig1.txt", "fig3.txt", "fig5.txt"}
    lines = [line.split() for line in (plan.out / "table1.txt").read_text().splitlines()]
    assert ["MCT", "-", "-"] in lines
    assert ["paper", "48.5", "±", "0.2", "66.0", "±", "0.3"] in lines


def test_kills_change_nothing(
    tmp_path: Path, finished: Reproduction, capfd: pytest.CaptureFixture[str]
) -> None:
    """Real processes, real kills: every table, result and image has the bytes of an undisturbed run."""
    options = SimpleNamespace(kills=2, jobs=1, names=["table2", "fig2"], seeds=1, seed=3)
    assert reproduce_kills.compare(options, finished.out, tmp_path / "broken", seconds=3.0) == 0
    assert "byte-identical" in capfd.readouterr().out


def test_only_some_jobs_and_what_they_need(tmp_path: Path) -> None:
    """A pattern selects by name; one without any job is refused."""
    plan = Reproduction.prepare(
        ["table2"], tmp_path / "out", scale=smallest(), seeds=1, only="*-1-discrete-*"
    )
    assert [job.kind for job in plan.jobs] == ["experts", "convert", "distill", "test"]
    with pytest.raises(ConfigError, match=r"`only` 'x' matches none of \d+ jobs; names are like digits-"):
        Reproduction.prepare(["table2"], tmp_path / "out", scale=smallest(), only="x")


@pytest.mark.parametrize("names", [["table9"], []])
def test_unknown_names_are_refused(tmp_path: Path, names: list[str]) -> None:
    """With those that there are."""
    with pytest.raises(ConfigError, match=r"table1, table2, table3, fig1"):
        Reproduction.prepare(names, tmp_path / "out")


def test_other_folders_are_left_alone(tmp_path: Path, finished: Reproduction) -> None:
    """One with other files, one at another scale, and one whose plan is damaged."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(ExistsError, match="holds no reproduction; use another --out"):
        Reproduction.prepare(["fig2"], tmp_path / "mine")
    with pytest.raises(ExistsError, match="holds a reproduction at scale smallest, and not tiny"):
        Reproduction.prepare(["fig2"], finished.out)
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(CorruptError, match=r"plan\.json: not the plan of a reproduction"):
        Reproduction.prepare(["fig2"], tmp_path)
    with pytest.raises(ExistsError, match="is not a folder"):
        Reproduction.prepare(["fig2"], finished.out / "plan.json")
    with pytest.raises(ConfigError, match="`seeds` must be >= 1, got 0"):
        Reproduction.prepare(["fig2"], tmp_path / "new", seeds=0)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A second one is told who works there."""
    import os

    plan = Reproduction.prepare(["fig2"], tmp_path / "out", scale=smallest())
    plan.out.mkdir()
    lock = Lock(os.open(plan.out, os.O_RDONLY | os.O_DIRECTORY), plan.out / ".lock", plan.out)
    try:
        with pytest.raises(ExistsError, match="another reproduction works here"):
            plan.run()
    finally:
        lock.release()
