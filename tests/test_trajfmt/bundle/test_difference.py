"""What two bundles do not have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trajfmt
from trajfmt import Layer, Model, ParamLayout, Preprocessing, Provenance, TimestepUnit
from trajfmt.bundle.difference import differences

Walk = Callable[..., Any]
ABOUT = Provenance(
    dataset="CIFAR10",
    model=Model(family="ConvNet", depth=3, width=128, channels=3, classes=10),
    preprocessing=Preprocessing(kind="zca", eps=0.1),
    recipe={"lr": 0.01, "seed": 0},
    timestep=TimestepUnit(kind="epoch"),
)


def _changed(**changes: Any) -> Provenance:
    return Provenance(**{name: getattr(ABOUT, name) for name in ABOUT.__struct_fields__} | changes)


@pytest.mark.parametrize(
    ("about", "name", "one", "other"),
    [
        (_changed(dataset=None), "dataset", "CIFAR10", "unknown"),
        (
            _changed(preprocessing=Preprocessing(kind="none")),
            "preprocessing",
            "kind zca, eps 0.1",
            "kind none",
        ),
        (_changed(recipe={"lr": 0.01, "seed": 1}), "recipe.seed", "0", "1"),
        (_changed(recipe={"lr": 0.01}), "recipe.seed", "0", "unknown"),
        (_changed(timestep=TimestepUnit(kind="step")), "timestep", "kind epoch", "kind step"),
        (_changed(first_timestep=3), "first_timestep", "unknown", "3"),
    ],
)
def test_facts_that_differ_are_named(
    about: Provenance,
    name: str,
    one: str,
    other: str,
    layout: ParamLayout,
    walk: Walk,
    write_bundle: Callable[..., Path],
) -> None:
    """With what each bundle says; how a fact is known and its source files are none of them."""
    first = write_bundle(layout, walk(layout), name="a.mct", provenance=ABOUT)
    second = write_bundle(layout, walk(layout), name="b.mct", provenance=about)
    with trajfmt.open(first) as a, trajfmt.open(second) as b:
        assert differences(a.manifest, b.manifest) == [(name, one, other)]
        assert differences(b.manifest, a.manifest) == [(name, other, one)]
        assert differences(a.manifest, a.manifest) == []


def test_settings_that_differ_are_named(
    layout: ParamLayout, walk: Walk, write_bundle: Callable[..., Path]
) -> None:
    """Encoding, network, layers, type, codec and smoothing."""
    shapes = [("fc.weight", (2, 3)), ("fc.bias", (2,)), ("scale", (1,))]
    more = ParamLayout.of([*shapes[:2], ("scale", ()), ("more", (1,))])
    joined = ParamLayout(layout.parameters, (Layer("all", (0, 1, 2)),))
    kinds: dict[str, tuple[ParamLayout, dict[str, Any]]] = {
        "convex": (layout, {"knots": (2,)}),
        "smoothed": (layout, {"knots": (2,), "smooth": True}),
        "full": (layout, {"encoding": "full"}),
        "zstd": (layout, {"encoding": "full", "codec": "zstd"}),
        "other": (ParamLayout.of(shapes), {}),
        "more": (more, {}),
        "joined": (joined, {}),
        "wide": (layout.cast("F64"), {}),
    }
    found = {}
    for name, (network, options) in kinds.items():
        path = write_bundle(network, walk(network), name=f"{name}.b", **options)
        with trajfmt.open(path) as bundle:
            found[name] = bundle.manifest
    assert differences(found["convex"], found["smoothed"]) == [("smoothed", "no", "yes")]
    assert differences(found["convex"], found["full"]) == [("encoding", "convex", "full")]
    assert differences(found["full"], found["zstd"])[0][:2] == ("codec", "name none")
    assert differences(found["convex"], found["other"]) == [("parameters", "scale ()", "scale (1,)")]
    assert differences(found["convex"], found["more"]) == [("parameters", "no more of them", "more (1,)")]
    assert differences(found["convex"], found["joined"]) == [("layers", "3 layers", "1 layers")]
    assert differences(found["convex"], found["wide"]) == [("dtype", "F32", "F64")]


def test_private_keys_and_unknown_facts_count(
    layout: ParamLayout, walk: Walk, write_bundle: Callable[..., Path], edit_manifest: Callable[..., None]
) -> None:
    """What this library does not know may still differ."""
    paths = [write_bundle(layout, walk(layout), name=name) for name in ("a.mct", "b.mct")]
    edit_manifest(paths[1], lambda manifest: manifest.update(x_note=[1, "a"]))
    edit_manifest(paths[1], lambda manifest: manifest["provenance"].update(gpu="A100"))
    with trajfmt.open(paths[0]) as a, trajfmt.open(paths[1]) as b:
        found = differences(a.manifest, b.manifest)
    assert found == [("provenance.gpu", "unknown", '"A100"'), ("x_note", "unknown", '[1,"a"]')]
    assert str(found[0]) == 'provenance.gpu: unknown, or "A100"'
