"""Several bundles as one: the trajectories of all of them, in the order in which the bundles are given."""

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import accumulate
from typing import Final

import trajfmt
from mct.errors import MismatchError
from trajfmt.bundle import Difference, Numbering, Trajectory, differences, numbering_of, unlike_ends
from trajfmt.errors import display

_OWN: Final = frozenset({"seed", "experts"})
"""Facts of a recipe in which bundles of the same kind of experts usually differ."""


class JoinedBundles:
    """Open bundles of the same network, data set and preprocessing.

    They may differ in the recipe of the training, such as the seed, in the codec of full trajectories, and in
    private keys. Closing it closes them.

    Args:
        bundles: The bundles, at least one.

    Raises:
        MismatchError: If two bundles differ in something else, or the timesteps of a trajectory have other
            numbers than those of another.
    """

    def __init__(self, bundles: Sequence[trajfmt.Bundle]) -> None:
        self._bundles = list(bundles)
        self._ends = list(accumulate(len(bundle) for bundle in bundles))
        first = bundles[0]
        self.encoding: str = first.encoding
        self.layout: trajfmt.ParamLayout = first.layout
        self.manifest = first.manifest
        """The manifest of the first bundle, which says the same of the experts as those of the others."""
        self.hashes: tuple[str, ...] = tuple(bundle.sha256 for bundle in bundles)
        """The hash that identifies each bundle."""
        self.numbering: Numbering = numbering_of(*(bundle.manifest for bundle in bundles))
        """What the timesteps of all trajectories are."""
        self.sha256: str = hashlib.sha256("".join(self.hashes).encode()).hexdigest()
        """The SHA-256 of these hashes, which identifies all of them in their order."""
        for bundle in self._bundles:
            shared_numbering(bundle)
        for other in self._bundles[1:]:
            for found in differences(first.manifest, other.manifest):
                if _matters(found):
                    raise MismatchError(
                        f"{display(other.place)}: its {found.name} is {found.other}, that of "
                        f"{display(first.place)} is {found.one}; distil bundles together only if their "
                        "experts are of one kind"
                    )
            if not numbering_of(first.manifest, other.manifest).alike:
                raise MismatchError(
                    f"{display(other.place)}: its timesteps have other numbers than those of "
                    f"{display(first.place)}, so that `expert_steps` would be different lengths of a "
                    "training; distil them one by one"
                )

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Trajectory:
        if not 0 <= index < len(self):
            raise IndexError(f"trajectory must lie in [0, {len(self) - 1}], got {index}")
        number = bisect_right(self._ends, index)
        bundle = self._bundles[number]
        return bundle[index - self._ends[number] + len(bundle)]

    def remarks(self) -> Iterator[str]:
        """Yield a line for each thing that bundles need not have in common, and do not, or do twice."""
        yield from self._repeats()
        first = self._bundles[0]
        for other in self._bundles[1:]:
            name = display(other.place)
            if (ends := unlike_ends(first.manifest, other.manifest)) is not None:
                yield f"{name}: {ends}"
            if odd := list(_trained(first, other)):
                yield f"{name}: its experts were trained with {', '.join(odd)}"

    def _repeats(self) -> Iterator[str]:
        """Yield one line for each pair of bundles that have trajectories in common, by their digests."""
        held = [{entry.digest for entry in bundle.manifest.trajectories} for bundle in self._bundles]
        for number, other in enumerate(held):
            for earlier in range(number):
                if count := len(held[earlier] & other):
                    names = [display(self._bundles[n].place) for n in (number, earlier)]
                    yield (
                        f"{names[0]}: {count} of its {len(other)} trajectories are in {names[1]}, too, and "
                        "are drawn twice as often as others"
                    )

    def close(self) -> None:
        """Close all bundles."""
        with ExitStack() as stack:
            for bundle in self._bundles:
                stack.callback(bundle.close)


def shared_numbering(bundle: trajfmt.Bundle | JoinedBundles) -> Numbering:
    """Return what the timesteps of all trajectories are.

    Raises:
        MismatchError: The trajectories have timesteps of other numbers, so that the same timestep is another
            amount of training in each.
    """
    if isinstance(bundle, JoinedBundles):
        return bundle.numbering
    found = numbering_of(bundle.manifest)
    if not found.alike:
        raise MismatchError(
            f"{display(bundle.place)}: its timesteps are {found.words}, so that `expert_steps` would be "
            "different lengths of a training; convert trainings with other numbers into bundles of their "
            "own, and distil them one by one"
        )
    return found


def _trained(one: trajfmt.Bundle, other: trajfmt.Bundle) -> Iterator[str]:
    """Yield what differs in the training of experts where both recipes say how these were trained."""
    recipes = [bundle.provenance.recipe or {} for bundle in (one, other)]
    if all("optimizer" in recipe for recipe in recipes):
        for found in differences(one.manifest, other.manifest):
            key = found.name.removeprefix("recipe.")
            if found.name.startswith("recipe.") and key not in _OWN:
                values = [recipe.get(key, "none") for recipe in recipes]
                yield f"{key} {values[1]} instead of {values[0]}"


def _matters(found: Difference) -> bool:
    """Return whether trajectories with this difference must not be distilled together."""
    return found.of_kind or (
        found.name != "codec" and not found.name.startswith(("recipe.", "provenance.", "x_"))
    )
