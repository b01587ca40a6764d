"""Whether facts of a source may hold for all trajectories of a bundle."""

from __future__ import annotations

import re
from typing import Any

import pytest

from trajfmt.errors import UsageError
from trajfmt.schema.facts import phrase, settled
from trajfmt.schema.provenance import Model, Preprocessing, Provenance

SHAPES = Model(family="ConvNet", depth=1, width=4, channels=3, classes=10, image_size=32)
NAMED = Model(
    family="ConvNet", depth=1, width=4, channels=3, classes=10, image_size=32, norm="batch", pooling="avg"
)
ZCA = Preprocessing(kind="zca", eps=0.1)
FITTED = Preprocessing(kind="zca", eps=0.1, images_sha256="0" * 64)


def _of(origin: str = "path", **facts: Any) -> Provenance:
    return Provenance(**facts, known_from=dict.fromkeys(facts, origin))


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"dataset": "CIFAR10"}, "data set CIFAR10 (known from the name of a folder)"),
        ({"model": NAMED}, "model family ConvNet, depth 1"),
        ({"preprocessing": ZCA}, "preprocessing kind zca, eps 0.1 (known from the name of a folder)"),
        ({"recipe": {"codebase": "FTD"}}, "recipe codebase FTD (known from the name of a folder)"),
    ],
)
def test_what_only_the_bundle_says_holds_with_a_remark(facts: dict[str, Any], text: str) -> None:
    """The bundle stays as it is, and the remark says the fact and how it is known."""
    old = _of(**facts)
    found = settled(old, Provenance(), (), "b.mct")
    assert found.provenance == old
    [remark] = found.remarks
    assert remark.startswith("what only the bundle says now holds for the new trajectories, too: ")
    assert text in remark


@pytest.mark.parametrize(
    ("facts", "option"),
    [
        ({"dataset": "a b"}, "--dataset 'a b'"),
        ({"model": NAMED}, "--model ConvNetD1W4BN"),
        ({"preprocessing": ZCA}, "--zca"),
        ({"preprocessing": Preprocessing(kind="normalize")}, "--no-zca"),
        (
            {"preprocessing": Preprocessing(kind="normalize", mean=[0.5], std=[0.25])},
            "--mean 0.5 --std 0.25",
        ),
        ({"preprocessing": FITTED}, None),
        ({"preprocessing": Preprocessing(kind="zca", eps=0.2)}, None),
        ({"model": Model(family="other", channels=3, classes=10, factory="a:b")}, None),
    ],
)
def test_what_only_the_source_says_is_refused_until_an_option_says_it(
    facts: dict[str, Any], option: str | None
) -> None:
    """The refusal names the option that says it, if there is one; then it is known from an option."""
    [name] = facts
    new = _of(**facts)
    with pytest.raises(UsageError, match=r"^b\.mct: does not say of its trajectories what the source") as bad:
        settled(Provenance(), new, (), "b.mct")
    assert (f"or pass {option} if all" in str(bad.value)) == (option is not None)
    assert ("or pass" in str(bad.value)) == (option is not None)
    found = settled(Provenance(), new, (name,), "b.mct")
    assert getattr(found.provenance, name) == facts[name]
    assert found.provenance.known_from == {name: "flag"}
    assert "what the bundle did not say now holds for all its trajectories" in found.remarks[0]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"dataset": "CIFAR10"}, {"dataset": "CIFAR100"}),
        ({"preprocessing": ZCA}, {"preprocessing": Preprocessing(kind="normalize")}),
        ({"model": NAMED}, {"model": Model(family="ResNet18", channels=3, classes=10)}),
        ({"recipe": {"codebase": "MTT"}}, {"recipe": {"codebase": "FTD"}}),
    ],
)
def test_contradictions_are_refused_also_if_an_option_says_them(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    """No trajectory of the bundle gets another fact than it had."""
    with pytest.raises(UsageError, match=r"^b\.mct: its .*, the source's "):
        settled(_of(**old), _of(**new), ("dataset", "model", "preprocessing"), "b.mct")


def test_a_part_of_a_fact_counts_like_a_fact() -> None:
    """A norm, or the images of a whitening, that only one of both says is no contradiction, but said."""
    [remark] = settled(_of(model=NAMED), _of("shapes", model=SHAPES), (), "b").remarks
    assert remark.endswith("too: model norm batch, pooling avg (known from the name of a folder)")
    told = "the source says: model norm batch, pooling avg (known from the name of a folder); use"
    with pytest.raises(UsageError, match=rf"{re.escape(told)}.* --model ConvNetD1W4BN if all"):
        settled(_of("shapes", model=SHAPES), _of(model=NAMED), (), "b")
    found = settled(_of("run", preprocessing=FITTED), _of(preprocessing=ZCA), (), "b")
    assert found.provenance.preprocessing == FITTED
    found = settled(_of(preprocessing=FITTED), _of(preprocessing=ZCA), ("preprocessing",), "b")
    assert (found.provenance.preprocessing, found.remarks) == (FITTED, [])


def test_the_shapes_are_those_of_the_bundle_so_what_they_say_holds_for_it() -> None:
    """A network that was recognised by its shapes needs no option."""
    found = settled(Provenance(), _of("shapes", model=SHAPES), (), "b")
    assert (found.provenance.model, found.provenance.known_from) == (SHAPES, {"model": "shapes"})
    assert "(known from the shapes of the weights)" in found.remarks[0]


def test_a_recipe_of_the_source_alone_is_left_out_with_a_remark() -> None:
    """The bundle must not claim another codebase for its own trajectories."""
    found = settled(Provenance(), _of("layout", recipe={"codebase": "FTD"}), (), "b")
    assert found.provenance == Provenance()
    [remark] = found.remarks
    assert remark.startswith(
        "not recorded, as the bundle does not say it of its trajectories: recipe codebase"
    )


def test_control_characters_in_facts_are_shown_as_text() -> None:
    """Facts of a bundle from a stranger reach a terminal."""
    assert phrase("a\x1bb") != "a\x1bb"


def test_a_fact_that_an_option_states_keeps_what_the_bundle_says_beside_it() -> None:
    """What the shapes told, and what the name of the network adds, are one fact."""
    found = settled(_of("shapes", model=SHAPES), _of("flag", model=NAMED), ("model",), "b.mct")
    assert found.provenance.model == NAMED
    fitted = settled(
        _of(preprocessing=FITTED), _of("flag", preprocessing=ZCA), ("preprocessing",), "b.mct"
    ).provenance
    assert fitted.preprocessing == FITTED


def test_recipes_that_agree_in_a_key_are_one_recipe() -> None:
    """What both say is no remark; what only one says is."""
    both = _of(recipe={"codebase": "FTD", "rho": 0.1})
    assert settled(both, both, (), "b.mct").remarks == []
    found = settled(both, _of(recipe={"codebase": "FTD"}), (), "b.mct")
    assert "recipe rho 0.1" in found.remarks[0]
    assert "FTD" not in found.remarks[0]
