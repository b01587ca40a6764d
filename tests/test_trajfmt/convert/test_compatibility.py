"""Which sources may be added to a bundle."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from trajfmt.convert.options import ConvertOptions
from trajfmt.convert.planning import plan
from trajfmt.convert.run import convert
from trajfmt.errors import UsageError

torch = pytest.importorskip("torch")
import trajfmt  # noqa: E402
from tests.foreign import checkpoints as foreign  # noqa: E402
from tests.helpers.conversion import SMALL, files, notices, run, save, theta  # noqa: E402
from tests.helpers.walks import LAYOUT, walk_of, write_walks  # noqa: E402
from trajfmt import ArrayTrajectory  # noqa: E402


def test_appending_another_network_is_refused(tmp_path: Path) -> None:
    """Other shapes do not go into a bundle."""
    target = tmp_path / "out.mct"
    run(save(tmp_path / "a", [theta(0)]), target)
    before = files(target)
    with pytest.raises(UsageError):
        convert(save(tmp_path / "b", [theta(1, shapes=((3,),))]), target, ConvertOptions(append=True))
    assert files(target) == before
    assert not (tmp_path / ".out.mct.partial").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"knots": (3,)}, "was made with two endpoints, not knots 3; omit the options"),
        ({"layers": "all"}, "has other layers than `--layers all`; omit the option"),
        ({"timesteps": (2, 8)}, "begin at timestep 0 of their sources, but these would begin at timestep 2"),
    ],
    ids=["knots", "layers", "window"],
)
def test_appending_with_other_options_is_refused(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    """What the bundle cannot take is refused, not dropped."""
    run(save(tmp_path / "a", [theta(0)]), tmp_path / "out.mct")
    other = save(tmp_path / "b", [theta(1)])
    with pytest.raises(UsageError, match=re.escape(words)):
        convert(other, tmp_path / "out.mct", ConvertOptions(append=True, **options))


def test_appending_other_data_is_refused(tmp_path: Path) -> None:
    """Experts of another data set or preprocessing do not pass as the bundle's own."""
    target = tmp_path / "out.mct"
    run(save(tmp_path / "CIFAR10" / "ConvNet", [theta(0, shapes=SMALL)]), target)
    other = save(tmp_path / "CIFAR10_NO_ZCA" / "ConvNet", [theta(1, shapes=SMALL)])
    with pytest.raises(UsageError, match=r"its preprocessing is kind zca.*, the source's is kind normalize"):
        convert(other, target, ConvertOptions(append=True))


def test_append_learns_facts_that_an_option_says(tmp_path: Path) -> None:
    """A fact that the bundle lacked is added for all trajectories, with its origin and a remark."""
    source = write_walks(tmp_path / "s.mtt", 1)
    convert(source, tmp_path / "o.mct")
    other = tmp_path / "t.mtt"
    with trajfmt.create(other, LAYOUT, encoding="full") as writer:
        writer.add(ArrayTrajectory(walk_of(77), LAYOUT))
    events = run(other, tmp_path / "o.mct", append=True, dataset="CIFAR10")
    opened = trajfmt.open(tmp_path / "o.mct", verify=True)
    assert (len(opened), opened.manifest.provenance.dataset) == (2, "CIFAR10")
    assert opened.manifest.provenance.known_from["dataset"] == "flag"
    assert "what the bundle did not say now holds for all its trajectories: data set CIFAR10" in notices(
        events
    )


@pytest.mark.parametrize("dry", [False, True])
def test_facts_of_the_source_alone_do_not_become_those_of_the_bundle(tmp_path: Path, dry: bool) -> None:
    """An append must not relabel what is there; a plan says so, too."""
    target = tmp_path / "o.mtt"
    run(save(tmp_path / "a", [theta(0, shapes=SMALL)]), target, layout="mtt")
    other = save(tmp_path / "CIFAR10" / "ConvNet", [theta(1, shapes=SMALL)])
    before = files(target)
    with pytest.raises(UsageError, match=r"--dataset CIFAR10 --model ConvNetD1W4 --zca if all trajectories"):
        (plan if dry else convert)(other, target, ConvertOptions(append=True))
    assert files(target) == before


def test_facts_of_the_bundle_hold_for_the_new_trajectories_with_a_remark(tmp_path: Path) -> None:
    """The remark says what is known, and from where; that facts are unknown is not said any more."""
    target = tmp_path / "o.mtt"
    run(save(tmp_path / "CIFAR10" / "ConvNet", [theta(0, shapes=SMALL)]), target)
    before = trajfmt.open(target).manifest.provenance
    other = save(tmp_path / "b", [theta(1, shapes=SMALL)])
    planned = plan(other, target, ConvertOptions(append=True)).notices
    said = notices(run(other, target, append=True))
    for text in (said, "\n".join(planned)):
        assert "too: data set CIFAR10 (known from the name of a folder); model norm instance" in text
        assert "is unknown" not in text
    after = trajfmt.open(target).manifest.provenance
    assert (after.dataset, after.known_from) == (before.dataset, before.known_from)


def test_codec_and_layers_that_are_asked_for_are_those_of_the_bundle_or_refused(tmp_path: Path) -> None:
    """Also a default, if it is asked for; without an option the bundle decides."""
    target = tmp_path / "o.mtt"
    run(save(tmp_path / "a", [theta(0)]), target, codec="zstd", layers="all")
    other = save(tmp_path / "b", [theta(1)])
    with pytest.raises(UsageError, match="made with codec zstd, not codec none; omit the options"):
        convert(other, target, ConvertOptions(append=True, codec="none"))
    with pytest.raises(UsageError, match="has other layers than `--layers tensor`"):
        convert(other, target, ConvertOptions(append=True, layers="tensor"))
    run(other, target, append=True)
    with trajfmt.open(target) as bundle:
        assert (bundle.manifest.codec.name, len(bundle.layout.layers), len(bundle)) == ("zstd", 1, 2)


def test_a_bundle_is_not_appended_to_itself(tmp_path: Path) -> None:
    """By any name of it."""
    target = write_walks(tmp_path / "o.mtt", 1)
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(UsageError, match="cannot be appended to itself"):
        convert(tmp_path / "link", target, ConvertOptions(append=True))


def test_convexified_bundles_are_appended_as_they_are(tmp_path: Path) -> None:
    """With a remark on other knots; other layers and another smoothing are refused."""
    walks = write_walks(tmp_path / "s.mtt", 3)
    made: dict[str, dict[str, Any]] = {
        "two": {"knots": (2,)},
        "three": {"knots": (1, 3)},
        "smooth": {"knots": (2,), "smooth": True},
        "all": {"knots": (2,), "layers": "all"},
    }
    for name, options in made.items():
        run(walks, tmp_path / f"{name}.mct", **options)
    target = tmp_path / "o.mct"
    other = write_walks(tmp_path / "t.mtt", 1)
    with trajfmt.create(tmp_path / "n.mtt", LAYOUT, encoding="full") as writer:
        writer.add(ArrayTrajectory(walk_of(77), LAYOUT))
    run(tmp_path / "n.mtt", target, knots=(2,))
    said = notices(run(tmp_path / "three.mct", target, append=True))
    assert "the knots of the source (0,1,3,5) are not those of the bundle (0,2,5)" in said
    with trajfmt.open(target) as bundle, trajfmt.open(tmp_path / "three.mct") as source:
        assert [each.knots for each in bundle] == [(0, 2, 5), *[(0, 1, 3, 5)] * 3]
        assert (bundle[1].at(2.5) == source[0].at(2.5)).all()
    with pytest.raises(UsageError, match="are not smoothed, those of the source smoothed"):
        convert(tmp_path / "smooth.mct", target, ConvertOptions(append=True))
    with pytest.raises(UsageError, match="has other layers than the source"):
        convert(tmp_path / "all.mct", target, ConvertOptions(append=True))
    assert other.exists()


def test_a_name_that_belies_the_encoding_is_refused(tmp_path: Path) -> None:
    """A `.mct` that was renamed would get trajectories of which the user expects every timestep."""
    run(write_walks(tmp_path / "s.mtt", 1), tmp_path / "o.mct")
    (tmp_path / "o.mct").rename(tmp_path / "o.mtt")
    with pytest.raises(UsageError, match=r"of convexified trajectories whose name ends in \.mtt; rename it"):
        convert(tmp_path / "s.mtt", tmp_path / "o.mtt", ConvertOptions(append=True))


@pytest.mark.parametrize("first", ["keep", "drop"])
def test_a_bundle_of_trajectories_with_and_without_buffers_is_said(tmp_path: Path, first: str) -> None:
    """Whoever takes the buffers of one trajectory for granted learns that others have none."""
    target = tmp_path / "o.mtt"
    second = {"keep": "drop", "drop": "keep"}[first]
    count = 0
    for name, buffers in (("a", first), ("b", first), ("c", second)):
        states = dict(enumerate(foreign.training(3, seed=ord(name))[0]))
        source = foreign.plain(tmp_path / name, states)
        said = notices(run(source, target, append=name != "a", buffers=buffers))
        count += "of the bundle have module buffers" in said
    assert count == 1
    told = {"keep": "2 of 2 trajectories", "drop": "0 of 2 trajectories"}[first]
    ours = {"keep": "have none", "drop": "have some"}[first]
    assert f"{told} of the bundle have module buffers; those of the source {ours}" in said


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((0, 5, 10), (0, 10, 20)),
        ((0, 5, 20), (0, 5, 10)),
        ((0, 5, 10), (5, 10, 15)),
        ((0, 1, 2), (0, 10, 20)),
    ],
)
@pytest.mark.parametrize("suffix", [".mct", ".mtt"])
def test_appended_timesteps_keep_their_own_numbers(
    tmp_path: Path, first: tuple[int, ...], second: tuple[int, ...], suffix: str
) -> None:
    """The bundle has one unit for all trajectories, which need not be that of the appended source."""
    target = tmp_path / f"out{suffix}"
    for name, steps in (("a", first), ("b", second)):
        states = foreign.training(len(steps), seed=ord(name))[0]
        folder = foreign.plain(tmp_path / name, dict(zip(steps, states, strict=True)))
        convert(folder, target, ConvertOptions(append=name == "b"))
    with trajfmt.open(target) as bundle:
        every = bundle.manifest.provenance.timestep.every
        start = bundle.manifest.provenance.first_timestep or 0
        for trajectory, steps in zip(bundle, (first, second), strict=True):
            told = tuple((start + t) * every for t in range(trajectory.timesteps))
            assert (trajectory.numbers or told) == steps


def test_appending_a_bundle_of_another_unit_is_refused(tmp_path: Path) -> None:
    """Without numbers, the timesteps of the appended bundle would be counted in the wrong unit."""
    states = foreign.training(3, seed=9)[0]
    for name, every in (("a", 5), ("b", 10)):
        steps = {every * t: state for t, state in enumerate(states)}
        convert(foreign.plain(tmp_path / name, steps), tmp_path / f"{name}.mtt")
        states = foreign.training(3, seed=10)[0]
    with pytest.raises(UsageError, match="its timesteps are 5 steps apart, the source's are 10 apart"):
        convert(tmp_path / "b.mtt", tmp_path / "a.mtt", ConvertOptions(append=True))


def _named(folder: Path, called: str, seed: int, order: tuple[str, ...] = ("a", "b")) -> Path:
    """Write three checkpoints `CALLED{0,10,20}.pt` of two parameters of one shape."""
    folder.mkdir()
    rng = torch.Generator().manual_seed(seed)
    for number in (0, 10, 20):
        state = {name: torch.randn(2, 2, generator=rng) for name in order}
        torch.save(state, folder / f"{called}{number}.pt")
    return folder


@pytest.mark.parametrize("suffix", [".mct", ".mtt"])
def test_numbers_of_unknown_unit_do_not_become_epochs(tmp_path: Path, suffix: str) -> None:
    """An append of `10.pt` to a bundle of epochs is refused, until the user says what the numbers are."""
    target = tmp_path / f"out{suffix}"
    convert(_named(tmp_path / "a", "epoch_", 1), target)
    other = _named(tmp_path / "b", "", 2)
    before = files(target)
    with pytest.raises(UsageError, match="its timesteps are epochs, but nothing says what the numbers"):
        convert(other, target, ConvertOptions(append=True))
    assert files(target) == before
    convert(other, target, ConvertOptions(append=True, select="{epoch}.pt"))
    with trajfmt.open(target) as bundle:
        assert [each.numbers or (0, 10, 20) for each in bundle] == [(0, 10, 20)] * 2
        assert bundle.manifest.provenance.timestep.kind == "epoch"


def test_a_unit_that_the_bundle_cannot_record_is_said(tmp_path: Path) -> None:
    """Epochs appended to numbers of unknown unit stay unknown, with a remark."""
    target, said = tmp_path / "out.mtt", []
    convert(_named(tmp_path / "a", "", 1), target)
    source = _named(tmp_path / "b", "epoch_", 2)
    convert(source, target, ConvertOptions(append=True), on_event=lambda event: said.append(event.message))
    assert any("it is not recorded that those of the source are epochs" in text for text in said)
    with trajfmt.open(target) as bundle:
        assert bundle.manifest.provenance.timestep is None


def test_the_same_parameters_in_another_order_are_called_that(tmp_path: Path) -> None:
    """The message names the first place where the orders differ; other names are another network."""
    target = tmp_path / "out.mtt"
    convert(_named(tmp_path / "a", "step_", 1), target)
    with pytest.raises(UsageError, match=r"same parameters in another order .*its `a` is where .*has `b`"):
        convert(_named(tmp_path / "b", "step_", 2, ("b", "a")), target, ConvertOptions(append=True))
    with pytest.raises(UsageError, match="another network or other parameter names"):
        convert(_named(tmp_path / "c", "step_", 3, ("c", "d")), target, ConvertOptions(append=True))


def test_timesteps_of_unknown_unit_are_said_to_be_taken_for_the_unit_of_the_bundle(tmp_path: Path) -> None:
    """A buffer has no numbers: it joins a bundle of epochs with a remark, unless its layout is named."""
    target = tmp_path / "out.mct"
    convert(save(tmp_path / "first", [theta(0, shapes=SMALL)]), target, ConvertOptions(layout="mtt"))
    for number, layout in enumerate((None, "mtt")):
        said: list[str] = []
        convert(
            save(tmp_path / str(number), [theta(number + 1, shapes=SMALL)]),
            target,
            ConvertOptions(append=True, layout=layout),
            on_event=lambda event, said=said: said.append(event.message),
        )
        told = any(
            "how far apart the timesteps of the source are; the distance of 1 epoch is" in t for t in said
        )
        assert told == (layout is None)


def test_numbers_that_some_trajectories_of_a_bundle_lack_are_not_those_of_another_unit(
    tmp_path: Path,
) -> None:
    """A trajectory without numbers has those of its bundle, which the bundle that it joins may not say."""
    for name, numbers in (("a", ((0, 7, 9), (0, 1, 2))), ("b", ((0, 10, 20),))):
        for run_, steps in enumerate(numbers):
            states = foreign.training(3, seed=10 * ord(name) + run_)[0]
            foreign.plain(tmp_path / name / str(run_), dict(zip(steps, states, strict=True)))
        convert(tmp_path / name, tmp_path / f"{name}.mtt")
    with trajfmt.open(tmp_path / "a.mtt") as bundle:
        assert [each.numbers for each in bundle] == [(0, 7, 9), None]
    with pytest.raises(UsageError, match="its timesteps are 10 steps apart, the source's are 1 apart"):
        convert(tmp_path / "a.mtt", tmp_path / "b.mtt", ConvertOptions(append=True))


@pytest.mark.parametrize("first", [0, 5])
def test_numbers_that_follow_from_the_facts_of_the_bundle_are_not_written(tmp_path: Path, first: int) -> None:
    """The format forbids it; a trajectory that is appended has the same numbers as before."""
    steps = [first + 5 * t for t in range(4)]
    for name in ("a", "b"):
        states = foreign.training(4, seed=ord(name))[0]
        foreign.plain(tmp_path / name, dict(zip(steps, states, strict=True)))
        convert(tmp_path / name, tmp_path / "o.mct", ConvertOptions(append=name == "b"))
    with trajfmt.open(tmp_path / "o.mct") as bundle:
        assert [entry.numbers for entry in bundle.manifest.trajectories] == [None, None]
        assert bundle.manifest.provenance.numbers(4) == steps


@pytest.mark.parametrize(
    ("place", "first", "other", "said"),
    [
        ("", {"key": "ema"}, {"key": "model"}, "with --key ema, those of the source .* with --key model"),
        ("a", {"key": "ema", "select": "a/*"}, {"key": "ema"}, "with --select a/.* were taken without"),
    ],
    ids=["key", "select"],
)
def test_other_weights_of_the_same_training_are_not_appended(
    tmp_path: Path, place: str, first: dict[str, Any], other: dict[str, Any], said: str
) -> None:
    """What chose between several sets of weights is in the recipe, and an append must choose the same."""
    source, target = tmp_path / "run", tmp_path / "out.mtt"
    for folder in (place, place and "b"):
        (source / folder).mkdir(parents=True, exist_ok=True)
        for step in (1, 2):
            state = {"w": torch.full((2, 2), float(step))}
            content = {"model": state, "ema": {"w": state["w"] + 10}}
            torch.save(content, source / folder / f"step_{step}.pt")
    convert(source, target, ConvertOptions(**first))
    before = files(target)
    with trajfmt.open(target) as bundle:
        about = bundle.manifest.provenance
    wanted = {"weights": "ema", "checkpoints": "a/*"} if place else {"weights": "ema"}
    assert (about.recipe, about.known_from["recipe"]) == (wanted, "flag")
    with pytest.raises(UsageError, match=said):
        convert(source / place.replace("a", "b"), target, ConvertOptions(append=True, **other))
    assert files(target) == before


def test_a_pattern_that_leaves_nothing_out_is_no_choice(tmp_path: Path) -> None:
    """A pattern that only says what the numbers are does not set trajectories apart."""
    target = tmp_path / "out.mtt"
    convert(_named(tmp_path / "a", "epoch_", 1), target)
    options = ConvertOptions(append=True, select="{epoch}.pt")
    convert(_named(tmp_path / "b", "", 2), target, options)
    source = _named(tmp_path / "c", "", 3)
    (source / "other.pth").write_bytes((source / "0.pt").read_bytes())
    with pytest.raises(UsageError, match="taken without --select, those of the source were taken with"):
        convert(source, target, options)


def test_trajectories_with_other_numbers_are_remarked_on(tmp_path: Path) -> None:
    """In one source as in an append: every epoch, and every third one. The same epochs need no remark."""
    random = torch.Generator().manual_seed(0)
    runs = {"run/a": range(4), "run/b": range(0, 12, 3), "c": range(0, 9, 3), "d": range(3)}
    for name, epochs in runs.items():
        (tmp_path / name).mkdir(parents=True)
        for epoch in epochs:
            torch.save({"w": torch.randn(5, generator=random)}, tmp_path / name / f"epoch_{epoch}.pt")
    words = "the timesteps are epochs 0 to {}, not the same in all trajectories"
    assert words.format(9) in notices(run(tmp_path / "run", tmp_path / "both.mct"))
    assert "not the same" not in notices(run(tmp_path / "run/a", tmp_path / "one.mct"))
    assert "not the same" not in notices(run(tmp_path / "d", tmp_path / "one.mct", append=True))
    assert words.format(6) in notices(run(tmp_path / "c", tmp_path / "one.mct", append=True))
