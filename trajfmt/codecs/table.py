"""All codecs by their names in the manifest."""

from __future__ import annotations

from typing import Final

from trajfmt.codecs import archive, none, zstd
from trajfmt.codecs.codec import Codec

__all__ = ["CODECS", "DEFAULT"]

CODECS: Final[dict[str, Codec]] = {codec.name: codec for codec in (none.CODEC, zstd.CODEC, archive.CODEC)}
DEFAULT: Final = none.CODEC.name
