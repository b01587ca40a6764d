"""Bundles for others: what describes them, and their way to a hub and back.

A description is made from the manifest alone. It lies beside the files of the bundle, whose readers ignore
it. This folder must not import `convert`, `sources`, `serve`, `torch` or `export`.

Modules:
    facts: the facts about a bundle as rows of names and values, in words.
    card: the card of a repository, README.md with metadata.
    croissant: the description of a bundle as a data set in Croissant, croissant.json.
    viewer: the index by which the hub's viewer of safetensors files finds knots.
    repository: a repository on the hub: what is in it, and one commit of new files.
    target: where a bundle is pushed to: what lies there already, and what a push may replace.
    push: a bundle to a repository on the hub, in one commit.
    pull: a bundle from any address to this machine, every file verified.
"""

from trajfmt.share.card import card
from trajfmt.share.croissant import croissant
from trajfmt.share.pull import Pulled, pull
from trajfmt.share.push import Pushed, push

__all__ = ["Pulled", "Pushed", "card", "croissant", "pull", "push"]
