"""The codec `none`: uncompressed timesteps, contiguous in the file, which can be memory-mapped."""

from typing import Final

from trajfmt.codecs.codec import Codec

__all__ = ["CODEC"]

CODEC: Final = Codec(name="none")
