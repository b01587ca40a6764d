"""Initial images by their difficulty."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import trajfmt  # noqa: E402
from mct.errors import ConfigError, DataError  # noqa: E402
from mct.initial import scored  # noqa: E402
from mct.initial.start import start  # noqa: E402
from mct.models import el2n, networks  # noqa: E402
from mct.runtime.seeds import generator  # noqa: E402
from mct.trajectories.stream import KnotStream  # noqa: E402
from tests.helpers.fakes import FakeBundle, random_walk  # noqa: E402
from tests.helpers.made import origin_of  # noqa: E402


def test_images_are_those_that_selmatchs_code_takes(tmp_path: Path, digits) -> None:
    """Of its loop over classes, written down once more: the hardest first, equal scores as in the data."""
    ipc, skip = 5, 3
    scores = generator(0)
    counts = torch.randint(4, (len(digits.train_labels),), generator=scores).float()  # with many ties
    np.save(tmp_path / "forgetting.npy", counts.numpy())
    everything = torch.ones(len(counts), dtype=torch.bool)
    order = scored.filed(tmp_path / "forgetting.npy", digits.train_labels, everything, 10)
    expected = []
    for label in range(10):
        members = [i for i in range(len(counts)) if int(digits.train_labels[i]) == label]
        ranked = sorted(members, key=lambda i: float(counts[i]), reverse=True)
        expected += ranked[skip : skip + ipc]
    assert scored.window(order, ipc, skip).tolist() == expected
    origin = origin_of(digits, ipc=ipc)
    config = replace(origin.config, initial="scored", scores="f.npy", skip_hardest=0.61)
    made = start(digits, replace(origin, config=config), generator=generator(0), order=lambda: order)
    assert torch.equal(made.images, digits.train_images[expected])
    assert torch.equal(made.labels, digits.train_labels[expected])


def test_held_out_images_are_left_out(tmp_path: Path, digits) -> None:
    """A file has the scores of all training images; those that are used are numbered among themselves."""
    used, seen = ~digits.held(), digits.heldout()
    values = torch.rand(len(used), generator=generator(1))
    np.save(tmp_path / "a.npy", values.numpy())
    order = scored.filed(tmp_path / "a.npy", digits.train_labels, used, 10)
    found = scored.window(order, 2, 1)
    assert seen.train_labels[found].tolist() == sorted(list(range(10)) * 2)
    left = values[used]
    for label in range(10):
        own = (seen.train_labels == label).nonzero()[:, 0]
        hardest = own[left[own].argsort(descending=True)]
        assert found[2 * label : 2 * label + 2].tolist() == hardest[1:3].tolist()


def test_scores_of_the_experts_of_a_run(digits, network) -> None:
    """Those of their weights at timestep 10, in any packed order."""
    layout = trajfmt.ParamLayout.of(networks.parameters_of(network))
    bundle = FakeBundle([random_walk(layout, 12, seed) for seed in range(2)], layout, knots=(2,))
    ends = torch.tensor(layout.offsets).tolist()
    back = torch.cat([torch.arange(a, b).flip(0) for a, b in pairwise(ends)])  # within each parameter
    stream = KnotStream(bundle, expert_steps=2, arrange=lambda theta: theta[back])
    order = scored.by_experts(stream, network, lambda theta: theta[back], digits)
    weights = [torch.from_numpy(trajectory.at(10)).float() for trajectory in bundle._items]
    scores = el2n.scores(network, weights, digits.train_images, digits.train_labels)
    for label, images in enumerate(order):
        assert sorted(images.tolist()) == (digits.train_labels == label).nonzero()[:, 0].tolist()
        assert float(scores[images].diff().max()) < 0.01 * float(scores[images].max() - scores[images].min())
    early = KnotStream(FakeBundle([random_walk(layout, 9)], layout), expert_steps=2)
    with pytest.raises(ConfigError, match="a trajectory ends at timestep 9; give a file of scores"):
        scored.by_experts(early, network, lambda theta: theta, digits)
    other = networks.build(networks.parse("ConvNetD2W4BN", channels=1, image_size=8, classes=10),
                           generator=generator(0))  # fmt: skip
    with pytest.raises(ConfigError, match="whose networks have buffers"):
        scored.by_experts(stream, other, lambda theta: theta, digits)


def test_too_few_images_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    """The message has the numbers."""
    order = (torch.arange(9), torch.arange(4))
    with pytest.raises(ConfigError, match="needs 5 images of every class, but class 1 has only 4"):
        scored.window(order, 3, 2)
    with pytest.raises(DataError, match=r"none\.npy: cannot be read as a file of scores: No such file"):
        scored.hash_of(str(tmp_path / "none.npy"))
    assert scored.hash_of("el2n") is scored.hash_of(None) is None
