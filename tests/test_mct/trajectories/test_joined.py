"""Several bundles as one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import trajfmt
from mct.errors import MismatchError
from mct.trajectories.joined import JoinedBundles, shared_numbering
from mct.trajectories.stream import KnotStream
from tests.helpers.carried import Carrier


@pytest.fixture
def opened(tmp_path: Path, layout, walk) -> Callable[..., trajfmt.Bundle]:
    """Return a function that writes and opens a bundle of trajectories with some seeds."""

    def make(*seeds: int, recipe: Any = None, name: str = "", **options: Any) -> trajfmt.Bundle:
        about = trajfmt.Provenance(dataset=name or "digits", recipe=recipe)
        options = {"encoding": "convex", "provenance": about} | options
        path = (
            tmp_path
            / f"{len(list(tmp_path.iterdir()))}.{'mct' if options['encoding'] == 'convex' else 'mtt'}"
        )
        with trajfmt.create(path, layout, **options) as writer:
            for seed in seeds:
                writer.add(trajfmt.ArrayTrajectory(walk(layout, seed=seed), layout))
        return trajfmt.open(path)

    return make


def test_trajectories_of_all_come_in_the_given_order(opened, layout, walk) -> None:
    """By number, with the weights of each; a number outside is an error, also a negative one."""
    joined = JoinedBundles([opened(0, 1, recipe={"seed": 0}), opened(2, recipe={"seed": 1}), opened(3, 4)])
    assert len(joined) == 5
    for number in range(5):
        assert np.array_equal(joined[number].knot(1), walk(layout, seed=number)[-1])
    for number in (-1, 5):
        with pytest.raises(IndexError):
            joined[number]
    assert not list(joined.remarks())
    joined.close()


def test_stream_draws_from_all(opened) -> None:
    """It is a bundle like any other."""
    joined = JoinedBundles([opened(0, 1), opened(2)])
    stream = KnotStream(joined, expert_steps=2)
    assert stream.locate(2, 1.0).trajectory == 2
    stream.close()


def test_hash_identifies_bundles_and_their_order(opened) -> None:
    """Other bundles, and the same ones in another order, are told apart."""
    one, other, third = opened(0), opened(1), opened(2)
    orders = [[one, other], [other, one], [one, other, third], [one]]
    assert len({JoinedBundles(order).sha256 for order in orders}) == 4
    assert JoinedBundles([one, other]).hashes == (one.sha256, other.sha256)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"name": "MNIST"}, "its dataset is MNIST, that of .* is digits"),
        ({"encoding": "full"}, "its encoding is full"),
        ({"recipe": {"ablation": "x"}}, 'its recipe.ablation is "x"'),
        ({"knots": (2,), "smooth": True}, "its smoothed is yes"),
    ],
)
def test_experts_of_two_kinds_are_refused(opened, options, line: str) -> None:
    """In one line, with what differs."""
    with pytest.raises(MismatchError, match=line):
        JoinedBundles([opened(0), opened(1, **options)])


def test_codecs_and_knots_may_differ(opened) -> None:
    """Each trajectory has its own."""
    assert len(JoinedBundles([opened(0), opened(1, knots=(2,))])) == 2
    assert len(JoinedBundles([opened(0, encoding="full"), opened(1, encoding="full", codec="zstd")])) == 2


def test_repeated_trajectories_are_said(opened) -> None:
    """With the two bundles that have them."""
    one, other = opened(0, 1), opened(1, 2, 0)
    (line,) = JoinedBundles([one, other]).remarks()
    assert line.startswith(f"{other.place}: 2 of its 3 trajectories are in {one.place}, too")


def test_other_labels_or_other_numbers_are_refused(opened, layout, walk, tmp_path: Path) -> None:
    """The hash of the labels is in the recipe, whose other parts may differ. Unknown labels are no others."""
    one, other = (opened(seed, recipe={"labels_sha256": str(seed) * 64, "seed": seed}) for seed in (0, 1))
    with pytest.raises(MismatchError, match=r"its recipe\.labels_sha256 is"):
        JoinedBundles([one, other])
    assert len(JoinedBundles([one, opened(2, recipe={"seed": 2})])) == 2
    spaced = []
    for number, steps in enumerate(((0, 1, 2, 3), (0, 1, 2, 4))):
        path = tmp_path / f"spaced{number}.mct"
        source = Carrier(walk(layout, timesteps=4, seed=number), layout, numbers=steps)
        with trajfmt.create(path, layout, encoding="convex") as writer:
            writer.add(source)
        spaced.append(trajfmt.open(path))
    with pytest.raises(MismatchError, match="its timesteps have other numbers"):
        JoinedBundles(spaced)


def test_one_bundle_with_two_spacings_is_refused(layout, walk, tmp_path: Path) -> None:
    """Alone, as two bundles that differ in the same way; also if only the second trajectory differs."""
    path = tmp_path / "two.mct"
    with trajfmt.create(path, layout, encoding="convex") as writer:
        for seed, numbers in enumerate(((0, 1, 2, 3), (0, 3, 6, 9))):
            writer.add(Carrier(walk(layout, timesteps=4, seed=seed), layout, numbers=numbers))
    with trajfmt.open(path) as bundle, pytest.raises(MismatchError, match="numbers 0 to 9, not the same in"):
        shared_numbering(bundle)
    with trajfmt.open(path) as bundle, pytest.raises(MismatchError, match="not the same in all"):
        JoinedBundles([bundle])


def test_experts_of_another_training_are_said(opened) -> None:
    """Unless they differ in the seed alone, or a recipe does not say how they were trained."""
    plain = {"optimizer": "sgd", "lr": 0.01}
    for other, line in (
        ({**plain, "seed": 1}, None),
        ({"note": "from afar"}, None),
        ({**plain, "sharpness": 0.01}, "its experts were trained with sharpness 0.01 instead of none"),
        ({**plain, "lr": 0.1}, "its experts were trained with lr 0.1 instead of 0.01"),
    ):
        said = list(
            JoinedBundles([opened(0, recipe={**plain, "seed": 0}), opened(1, recipe=other)]).remarks()
        )
        assert len(said) == (line is not None)
        assert line is None or said[0].endswith(line)


def test_paths_with_other_ends_are_said(layout, walk, write_bundle) -> None:
    """A convexified path depends on where it ends; timesteps of full bundles do not."""
    about = trajfmt.Provenance(dataset="digits")
    for encoding, suffix in (("convex", "mct"), ("full", "mtt")):
        pair = [
            trajfmt.open(
                write_bundle(
                    layout, walk(layout, n), name=f"{n}.{suffix}", encoding=encoding, provenance=about
                )
            )
            for n in (6, 4)
        ]
        said = list(JoinedBundles(pair).remarks())
        assert [line.partition(": ")[2] for line in said] == (
            ["its paths end at timestep 3, others at 5"] if encoding == "convex" else []
        )
