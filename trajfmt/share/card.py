"""The card of a repository with a bundle: README.md, with metadata in YAML at its beginning."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Final

from trajfmt.bundle.report import Summary
from trajfmt.errors import display
from trajfmt.schema.doubts import doubts
from trajfmt.schema.facts import OWN_DATASET
from trajfmt.schema.provenance import Provenance
from trajfmt.share import facts
from trajfmt.storage.address import Address

__all__ = ["card"]

_ON_HUB: Final = {
    "CIFAR10": "uoft-cs/cifar10",
    "CIFAR100": "uoft-cs/cifar100",
    "MNIST": "ylecun/mnist",
    "FashionMNIST": "zalando-datasets/fashion_mnist",
    "Tiny": "zh-plus/tiny-imagenet",
}
"""The repositories on the hub of well-known data sets. Others are not guessed."""

_ESCAPED: Final = str.maketrans({char: f"\\{char}" for char in "\\`*_[]<>|#~"})


def card(
    summary: Summary,
    *,
    name: str,
    address: str | None = None,
    license: str | None = None,
    kind: str = "model",
) -> str:
    """Return the card of a bundle in Markdown. It contains no date: equal bundles have equal cards.

    Args:
        summary: the facts about the bundle.
        name: what the bundle is called.
        address: the address at which readers find it; None if that is unknown.
        license: identifier of the license as the hub spells it, such as `cc-by-4.0`; None if none is stated.
        kind: the kind of the repository, `model` or `dataset`.
    """
    place = address or name
    lines = [
        "---",
        *_metadata(summary, license, kind),
        "---",
        "",
        f"# {_text(name)}",
        "",
        _text(facts.sentence(summary)),
        "",
        "## Reading it",
        "",
        f"With the Python package {_package(place)} installed:",
        "",
        "```sh",
        f"traj inspect {_quoted(place)}",
        "```",
        "",
        "```python",
        "import trajfmt",
        "",
        f"with trajfmt.open({json.dumps(place)}) as bundle:",
        f"    theta = bundle[0].at({summary.timesteps[0] // 2})  # the weights as one vector",
        "```",
        "",
        *_copying(place),
        "## Facts",
        "",
        "| fact | value |",
        "| --- | --- |",
        *(f"| {key} | {_text(value)} |" for key, value in facts.rows(summary)),
        "",
        "`manifest.json` lists every file with its size and its SHA-256 hash. Readers compare what they use.",
        "`traj validate` checks everything.",
    ]
    return "\n".join(lines) + "\n"


def _package(place: str) -> str:
    """Return what has to be installed to read from a place. A card cannot know where it is to be had."""
    if "://" not in place:
        return "`trajfmt`"
    return f"`trajfmt` and its extra `{'hub' if place.startswith('hf://') else 'remote'}`"


def _copying(place: str) -> list[str]:
    if "://" not in place:
        return []
    return [
        "Only the bytes that are used are downloaded. All of it is copied, and verified, by",
        "",
        "```sh",
        f"traj pull {_quoted(place)} {_quoted(Address(place).name)}",
        "```",
        "",
    ]


def _metadata(summary: Summary, license: str | None, kind: str) -> Iterator[str]:
    """Yield the lines of the metadata. Texts are quoted as in JSON, which YAML reads."""
    provenance = summary.provenance
    if license is not None:
        yield f"license: {json.dumps(license)}"
    if kind == "model":
        yield "library_name: trajfmt"
        if (known := _on_hub(provenance)) is not None:
            yield from _list("datasets", [known])
    else:
        yield "viewer: false"
    tags = ["trajfmt", "training-trajectories", "dataset-distillation", "trajectory-matching"]
    tags += ["mct" if summary.encoding == "convex" else "mtt"]
    yield from _list("tags", tags)


def _on_hub(provenance: Provenance) -> str | None:
    """Return the repository of the data set, or None if that is unknown.

    A data set of the user's own may have the name of a well-known one. It is not taken for that if a file of
    the user's is recorded, or unless the network is known and is for such images and classes.
    """
    own = OWN_DATASET in (provenance.recipe or {})
    if own or provenance.model is None or doubts(provenance):
        return None
    return _ON_HUB.get((provenance.dataset or "").partition("/")[0])


def _list(key: str, values: Iterable[str]) -> Iterator[str]:
    yield f"{key}:"
    yield from (f"- {value}" for value in values)


def _text(value: str) -> str:
    """Return a text that Markdown shows as it is, in one line."""
    return display(value).translate(_ESCAPED)


def _quoted(word: str) -> str:
    """Return a word for the shell."""
    plain = all(char.isalnum() or char in "/:@._-+%" for char in word)
    return word if plain else "'" + display(word).replace("'", "'\\''") + "'"
