"""Patterns that say what the number in the names is."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any

import pytest

from trajfmt.errors import SourceError, UsageError
from trajfmt.sources.checkpoints.stated import Stated

torch = pytest.importorskip("torch")
from tests.foreign import checkpoints as foreign  # noqa: E402
from tests.helpers.runs import assert_same, opened, refused  # noqa: E402


def number(pattern: str, path: str) -> int | None:
    """Return the number that a pattern finds."""
    stated = Stated.of(pattern)
    assert stated is not None
    reading = stated.read(PurePath(path))
    return None if reading is None else reading.number


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("gpt2_{step}.pt", "gpt2_1000.pt", 1000),
        ("gpt2_{step}.pt", "runs/a/gpt2_0010.pt", 10),
        ("gpt2_{epoch}.*", "gpt2_7.pth.tar", 7),
        ("*_{step}.pt", "gpt2_1000.pt", 1000),
        ("*{step}.pt", "gpt_1000.pt", 1000),
        ("run1/*/step{step}.pt", "x/run1/a/step3.pt", 3),
        ("{step}/model.safetensors", "100/model.safetensors", 100),
        ("{step}", "runs/100", 100),
        ("net[ab]_{step}?.pt", "neta_5x.pt", 5),
        ("a[{]b}_{step}_[[]c].pt", "a{b}_8_[c].pt", 8),
        ("epoch={epoch}-map={any}.ckpt", "epoch=3-map=0.5.ckpt", 3),
        ("gpt2_{step}.pt", "gpt2_1_000.pt", None),
        ("gpt2_{step}.pt", "gpt2_1k.pt", None),
        ("gpt2_{step}k.pt", "gpt2_10k.pt", 10_000),
        ("gpt2_{step}M", "gpt2_2M", 2_000_000),
        ("gpt2_{epoch}K-*.pt", "gpt2_2K-a.pt", 2000),
        ("gpt2_{step}kernel.pt", "gpt2_3kernel.pt", 3),
        ("gpt2_{step}m.pt", "gpt2_3m.pt", 3),
        ("gpt2_{step}.pt", "gpt2_0.5.pt", None),
        ("gpt2_{step}.pt", "gpt2_-5.pt", None),
        ("gpt2_{step}.pt", "gpt2_٣.pt", None),
        ("gpt2_{step}.pt", "gpt2_.pt", None),
        ("resnet18{step}.pt", "resnet18500.pt", None),
        ("gpt2_{step}.pt", "xgpt2_3.pt", None),
        ("a/{step}.pt", "3.pt", None),
        ("*{step}.pt", "net_0.5.pt", None),
        ("*{step}.pt", "net_-5.pt", None),
        ("*{step}.pt", "-5.pt", None),
        ("*{step}.pt", "net_1_000.pt", None),
        ("{any}{step}.pt", "net_1-5.pt", None),
        ("*{step}.pt", "net_1e-05.pt", None),
        ("net_?{step}.pt", "net_1.5.pt", None),
        ("net_{step}*.pt", "net_0.5.pt", None),
        ("net_{step}*", "net_1_000.pt", None),
        ("net_{step}*.pt", "net_1k.pt", None),
        ("net_{step}{any}.pt", "net_1e5.pt", None),
        ("net_{step}*", "net_12.pt", 12),
        ("*{step}.pt", "net-12.pt", 12),
        ("*{step}*.pt", "net_12_final.pt", 12),
        ("*/{step}.pt", "a/b/3.pt", 3),
    ],
)
def test_whole_numbers_match(pattern: str, path: str, expected: int | None) -> None:
    """All digits at the place, and nothing else; the rest of the path is compared as without a number."""
    assert number(pattern, path) == expected


@pytest.mark.parametrize(
    ("pattern", "path"),
    [("*{step}*.pt", "gpt2_net_1000.pt"), ("*_{step}_*", "a_1_2_3"), ("{any}_*_{step}.pt", "a_b_c_1.pt")],
)
def test_a_pattern_that_fits_in_several_ways_is_refused(pattern: str, path: str) -> None:
    """Neither of two numbers, nor of two runs, is chosen."""
    with pytest.raises(SourceError, match="fits this path in several ways"):
        number(pattern, path)


def test_one_number_gives_the_order() -> None:
    """Two are an error of the option, and a pattern without one states nothing."""
    with pytest.raises(UsageError, match="has 2 numbers"):
        Stated.of("ep{epoch}-step{step}.pt")
    assert Stated.of("{any}_*.pt") is None
    with pytest.raises(SourceError, match="no step is that large"):
        number("{step}.pt", "99999999999999999.pt")


def test_a_run_has_the_same_text_everywhere_else(tmp_path: Path, trained: Any) -> None:
    """Two networks in one folder, or in two, are never joined; what `{any}` stands for may differ."""
    others = foreign.training(4, seed=1)[0]
    folder = tmp_path / "runs"
    for name, states in (("resnet18", trained[0]), ("resnet34", others)):
        foreign.plain(folder, dict(enumerate(states)), f"{name}_{{}}.pt")
        for step, state in enumerate(states):
            foreign.plain(folder / name / f"loss{step}", {step: state}, "z{}.pt")
    for pattern in ("resnet*_{step}.pt", "*/loss{any}/z{step}.pt", "loss{any}/z{step}.pt"):
        collection, found = opened(folder, select=pattern)
        assert [trajectory.numbers for trajectory in found] == [(0, 1, 2, 3)] * 2
        assert_same(collection, found[0], trained[0])
        assert_same(collection, found[1], others)
    assert collection.provenance.timestep.kind == "step"
    assert collection.provenance.known_from["timestep"] == "flag"
    line = refused(folder, "duplicate_trajectory", select="{any}/{any}/z{step}.pt")
    assert "resnet18/loss0/z0.pt and resnet34/loss0/z0.pt are both number 0" in line


def test_the_same_number_twice_names_both(tmp_path: Path, trained: Any) -> None:
    """Also if the files have the same name, or the number is written in two ways."""
    folder = tmp_path / "run"
    for place, state in zip(("1", "2", "02"), trained[0], strict=False):
        foreign.plain(folder / place, {0: state}, "net.pt")
    line = refused(folder, "duplicate_trajectory", select="{step}/net.pt")
    assert "02/net.pt and 2/net.pt are both number 2" in line


def test_what_nearly_matches_is_named(tmp_path: Path, trained: Any) -> None:
    """A name that is written in another way is not left out without a word."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])), "z{}.pt")
    foreign.plain(folder, {1: trained[0][0]}, "z{}k.pt")
    notices = opened(folder, select="z{step}.pt")[0].notices
    assert "left out: z1k.pt: no whole number in the place of {step}" in notices
    for step in range(4):
        (folder / f"z{step}.pt").unlink()
    line = refused(folder, "too_few_timesteps", select="z{step}.pt")
    assert "no checkpoint can be used; left out: z1k.pt: no whole number" in line
    line = refused(folder, "nothing_to_convert", select="{steps}.pt")
    assert "({step} or {epoch} stands for digits, {any} for other text)" in line


def test_folders_of_any_name(tmp_path: Path, trained: Any) -> None:
    """What the user calls a step is one, if weights are in it."""
    folder = tmp_path / "run"
    for step, state in enumerate(trained[0]):
        foreign.tensors(folder / f"gpt2-{step}", {0: state}, "model.safetensors")
    for pattern in ("gpt2-{step}", "gpt2-{step}/model.safetensors"):
        assert opened(folder, select=pattern)[1][0].numbers == (0, 1, 2, 3)


def test_models_that_are_called_steps(tmp_path: Path, trained: Any) -> None:
    """`model_1` beside `model` may be the second model; the user says that it is a step."""
    folder = foreign.tensors(tmp_path / "run", dict(enumerate(trained[0][:3])), "model_{}.safetensors")
    foreign.tensors(folder, {0: trained[0][3]}, "model.safetensors")
    refused(folder, "nothing_to_convert")
    assert opened(folder, select="model_{step}.safetensors")[1][0].numbers == (0, 1, 2)


def test_unreadable_checkpoints_are_passed_over(tmp_path: Path, trained: Any) -> None:
    """With `keep_going`, and named, as without a stated number."""
    folder = foreign.plain(tmp_path / "run", dict(enumerate(trained[0])), "z{}.pt")
    (folder / "z2.pt").write_bytes(b"")
    refused(folder, "source_truncated", select="z{step}.pt")
    collection, (trajectory,) = opened(folder, select="z{step}.pt", keep_going=True)
    assert trajectory.numbers == (0, 1, 3)
    assert any(text.startswith("left out: z2.pt") for text in collection.notices)
    for path in folder.iterdir():
        path.write_bytes(b"")
    line = refused(folder, "too_few_timesteps", select="z{step}.pt", keep_going=True)
    assert "no checkpoint can be used; left out: z0.pt" in line


def test_runs_of_one_checkpoint_each_are_a_question(tmp_path: Path, trained: Any) -> None:
    """Where `*` stands for a score, the line says what to write."""
    folder = tmp_path / "run"
    for step, state in enumerate(trained[0]):
        foreign.plain(folder, {step: state}, f"z{{}}-map=0.{step}.pt")
    line = refused(folder, "too_few_timesteps", select="z{epoch}-map=*.pt")
    assert "z0-map=0.0.pt and z1-map=0.1.pt are of two runs, since more than the epoch differs" in line
    assert "write {any}" in line
    assert opened(folder, select="z{epoch}-map={any}.pt")[1][0].numbers == (0, 1, 2, 3)
