"""What a conversion is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from trajfmt.codecs.table import CODECS, DEFAULT
from trajfmt.encodings.parts.encoding import Options
from trajfmt.encodings.parts.knots import SHARD_BYTES
from trajfmt.errors import UsageError
from trajfmt.schema.layout import DTYPES, MAX_TEXT, Dtype, Grouping
from trajfmt.schema.provenance import Preprocessing
from trajfmt.sources.base.collection import BufferMode

__all__ = ["ConvertOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions:
    """What to make of a source."""

    knots: tuple[int, ...] = ()
    """Waypoints to insert between the endpoints (`convex`)."""

    smooth: bool = False
    """Average inserted knots and the last one with their neighbours, after the betas (`convex`)."""

    gram: bool = False
    """Keep the Gram matrix of the original path: its shape, in 8 (T+1)^2 bytes (`convex`, T <= 256)."""

    layers: Grouping = "tensor"
    """What shares one beta."""

    timesteps: tuple[int | None, int | None] = (None, None)
    """First timestep and the one after the last, as in a slice."""

    codec: str = DEFAULT
    """How timesteps are stored (`full`)."""

    layout: str | None = None
    """Name of the source's layout, if looking at it is not to decide; see `trajfmt.sources.LAYOUTS`."""

    keep_going: bool = False
    """Leave out files and trajectories that must not be converted, instead of stopping."""

    buffers: BufferMode = "keep"
    """What becomes of a checkpoint's buffers, such as running statistics."""

    dtype: Dtype | None = None
    """Type to store weights in, if not their own; betas are computed before, from the weights as they are."""

    shard_bytes: int = SHARD_BYTES
    """Cut a trajectory's knots into files of at most so many bytes (`convex`)."""

    trust_pickle: bool = False
    """Unpickle without restriction: runs whatever code the file holds."""

    append: bool = False
    """Add to an existing bundle."""

    dataset: str | None = None
    """Name of the real data set, if the path does not tell or is wrong."""

    model: str | None = None
    """Model name such as `ConvNet` or `ConvNetD3W128BN`."""

    preprocessing: Preprocessing | None = None
    """What was done to the images."""

    def __post_init__(self) -> None:
        if self.dtype is not None and self.dtype not in DTYPES:
            raise UsageError(f"`dtype` must be one of {', '.join(DTYPES)}, got {self.dtype!r}")
        choices = {"layers": get_args(Grouping), "codec": tuple(CODECS), "buffers": get_args(BufferMode)}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise UsageError(f"`{name}` must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        if any(bound is not None and bound < 0 for bound in self.timesteps):
            raise UsageError(f"`timesteps` must be bounds >= 0, got {self.timesteps}")
        if self.dataset is not None and not 1 <= len(self.dataset) <= MAX_TEXT:
            raise UsageError(f"`dataset` must have 1 to {MAX_TEXT} characters, got {len(self.dataset)}")

    def writing(self, cast: bool) -> Options:
        """Return what a writer is asked for.

        Args:
            cast: whether weights of other types than the stored one are welcome.
        """
        return Options(
            knots=self.knots,
            smooth=self.smooth,
            gram=self.gram,
            codec=self.codec,
            shard_bytes=self.shard_bytes,
            cast=cast,
        )
