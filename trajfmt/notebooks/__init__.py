"""What objects show of themselves in notebooks: short HTML that needs no script and no colour of its own.

This folder imports `errors` only.

Modules:
    card: facts, a table and a picture as one fragment of HTML.
    words: lists that are cut.
"""

from trajfmt.notebooks.card import MAX_PICTURE, card
from trajfmt.notebooks.words import listed

__all__ = [
    "MAX_PICTURE",
    "card",
    "listed",
]
