"""The codec `none`: timesteps as they are, contiguous in the file, so that they can be mapped."""

from typing import Final

from trajfmt.codecs.codec import Codec

__all__ = ["CODEC"]

CODEC: Final = Codec(name="none")
