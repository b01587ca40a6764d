"""ZCA: the reference's own loading of a data set, made of seeded images, against `mct.preprocessing`."""

from __future__ import annotations

import contextlib
import io
from types import ModuleType, SimpleNamespace
from unittest import mock

import torch
from table import Line, Lines, relative

import trajfmt
from mct.data import preprocessing
from mct.runtime.seeds import generator

COUNT, SHAPE = 3000, (3, 16, 16)


def pictures(seed: int, count: int) -> torch.Tensor:
    """Return smooth images in [0, 1], whose neighbouring pixels are correlated like those of photographs."""
    noise = torch.randn(count, 3, 20, 20, generator=generator(seed)).cumsum(2).cumsum(3)
    blurred = torch.nn.functional.avg_pool2d(noise, 5, stride=1)
    low, high = blurred.amin((1, 2, 3), keepdim=True), blurred.amax((1, 2, 3), keepdim=True)
    return (blurred - low) / (high - low)


def theirs(utils: ModuleType, train: torch.Tensor, test: torch.Tensor) -> tuple[object, torch.Tensor]:
    """Return the fitted whitening and the whitened test images of the reference."""

    class Images(list):  # type: ignore[type-arg]
        classes = tuple("0123456789")

    def load(_path: str, train: bool, **_: object) -> Images:
        return sets[train]

    sets = {True: Images((x, 0) for x in train), False: Images((x, 0) for x in test)}
    arguments = SimpleNamespace(zca=True, device="cpu")
    with (
        mock.patch.object(utils, "datasets", SimpleNamespace(CIFAR10=load)),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        found = utils.get_dataset("CIFAR10", "", args=arguments)
    return arguments.zca_trans, found[7].images


def check(utils: ModuleType) -> Lines:
    """Compare with the reference as it is, in float32, and with its recipe in float64."""
    train, test = pictures(0, COUNT), pictures(1, 100)
    ours = preprocessing.fit(trajfmt.Preprocessing(kind="zca", eps=preprocessing.ZCA_EPS), train)
    assert isinstance(ours, preprocessing.Whiten)
    for dtype, matrix, images in ((torch.float64, 1e-6, 1e-5), (torch.float32, 1e-5, 1e-4)):
        fitted, white = theirs(utils, train.to(dtype), test.to(dtype))
        what = f"ZCA of {COUNT} images {'x'.join(map(str, SHAPE))}, reference in {dtype}"
        what = what.replace("torch.", "")
        yield Line(f"{what}: matrix", relative(ours.matrix, fitted.transform_matrix), matrix)
        yield Line(f"{what}: mean", relative(ours.mean, fitted.mean_vector.flatten()), matrix)
        yield Line(f"{what}: whitened images", relative(ours.forward(test), white), images)
        restored = fitted.inverse_transform(white.to(dtype))
        yield Line(f"{what}: restored images", relative(ours.inverse(white), restored), images)
