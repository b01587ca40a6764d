"""The words of figures."""

import trajfmt
from tests.helpers.carried import Carrier
from trajfmt.plots.words import labels, names_of, shortened, timestep_axis, title_of


def test_unit_of_a_timestep(write_bundle, layout, walk) -> None:
    """Epochs, several steps each, and a unit that is unknown."""
    for number, (unit, expected) in enumerate(
        (
            (trajfmt.TimestepUnit(kind="epoch"), "timestep (epochs)"),
            (trajfmt.TimestepUnit(kind="step", every=50), "timestep (50 steps each)"),
            (None, "timestep"),
        )
    ):
        known = trajfmt.Provenance(dataset="$A\x1b", timestep=unit)
        path = write_bundle(layout, walk(layout), name=f"{number}.mct", provenance=known)
        with trajfmt.open(path) as bundle:
            assert timestep_axis(bundle) == expected
            assert names_of([bundle]) == [f"{number}.mct"]
            assert title_of([bundle], 3) == f"{number}.mct, $A\x1b, trajectory 3"


def test_an_axis_claims_no_unit_that_its_numbers_do_not_have(layout, walk, tmp_path) -> None:
    """Uneven timesteps, and those that begin later, are named by their numbers, for each trajectory."""
    known = trajfmt.Provenance(timestep=trajfmt.TimestepUnit(kind="step"))
    path = tmp_path / "a.mct"
    with trajfmt.create(path, layout, encoding="convex", provenance=known) as writer:
        for seed, numbers in enumerate(((500, 1000, 1873), (10, 20, 30), (0, 1, 2))):
            writer.add(Carrier(walk(layout, timesteps=3, seed=seed), layout, numbers=numbers))
    with trajfmt.open(path) as bundle:
        assert [timestep_axis(bundle, number) for number in range(3)] == [
            "timestep (steps 500 to 1873, unevenly spaced)",
            "timestep (10 steps each, from step 10 on)",
            "timestep (steps)",
        ]


def test_long_names_lose_their_middle() -> None:
    """The end of a name tells layers and bundles apart."""
    name = "encoder.layers." * 9 + "bias"
    assert len(shortened(name)) == 40
    assert shortened(name).startswith("encoder.layers.enco")
    assert shortened(name).endswith("…er.layers.encoder.layers.bias"[1:][-20:])


def test_bundles_are_told_apart(write_bundle, layout, walk, tmp_path) -> None:
    """By folders if they have one name, and by a number if their labels would be the same nevertheless."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    paths = [write_bundle(layout, walk(layout), name=f"{folder}/a.mct") for folder in ("one", "two")]
    with trajfmt.open(paths[0]) as one, trajfmt.open(paths[1]) as two:
        assert names_of([one, two, one]) == ["one/a.mct", "two/a.mct", "one/a.mct (2)"]
        assert title_of([one, two], 3) == "one/a.mct and two/a.mct, trajectory 3"
        assert title_of([one, two, one], 3) == "3 bundles, trajectory 3"
    long = ["a" * 30 + middle + "b" * 30 for middle in "xyz"]
    assert len(set(labels(long))) == 3
