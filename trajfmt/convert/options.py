"""The options of a conversion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from trajfmt.codecs.table import CODECS, DEFAULT
from trajfmt.encodings.parts.encoding import Options
from trajfmt.encodings.parts.knots import SHARD_BYTES
from trajfmt.errors import UsageError
from trajfmt.schema.arguments import whole, wholes
from trajfmt.schema.layout import DTYPES, MAX_TEXT, Dtype, Grouping
from trajfmt.schema.provenance import Preprocessing
from trajfmt.sources.base.collection import BufferMode

__all__ = ["ConvertOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions:
    """The options of a conversion.

    Raises:
        UsageError: an option has an invalid value.
        TypeError: an option has a value of another type.
    """

    knots: tuple[int, ...] = ()
    """Timesteps of the waypoints to insert between the endpoints (`convex`)."""

    place: int = 0
    """Number of knots, endpoints included, to place where the segments between them miss the paths of the
    source least (`convex`); 0 to take `knots`."""

    placed: bool = False
    """Whether `knots` were placed so. The recipe of the bundle then says `knots_placed`."""

    smooth: bool = False
    """Average inserted waypoints and the last timestep with their neighbours, after computing the betas
    (`convex`). For the MCT authors' pairs, it states that this was done."""

    average: int = 1
    """Number of timesteps of which every knot but the first is the mean (`convex`); 1 for exact knots."""

    gram: bool = False
    """Store the Gram matrix of the original trajectory in 8 (T+1)^2 bytes, if T <= 256 (`convex`)."""

    layers: Grouping | None = None
    """Which parameters share one beta; None for the layers of the source bundle, or of the bundle that is
    appended to, and otherwise `tensor`."""

    timesteps: tuple[int | None, int | None] = (None, None)
    """First timestep to convert, and the one after the last, as in a slice."""

    cut_for: str | None = None
    """What the end of `timesteps` is for, such as the name of a preset. The recipe of the bundle records it,
    and the last timestep as `cut_after`. Trajectories that end earlier are refused."""

    codec: str | None = None
    """Name of the codec (`full`); None for that of the bundle that is appended to, or `none`."""

    layout: str | None = None
    """Name of the source's file layout, to override detection; see `trajfmt.sources.LAYOUTS`."""

    keep_going: bool = False
    """Skip files and trajectories that cannot be converted, instead of aborting."""

    buffers: BufferMode = "keep"
    """What becomes of a checkpoint's buffers, such as running statistics."""

    buffer_names: tuple[str, ...] = ()
    """Patterns of names of tensors to treat as module buffers, such as `*.mask`."""

    key: str | None = None
    """The key of the weights in each checkpoint, with dots between nested keys; see `docs/codebases.md`."""

    select: str | None = None
    """A pattern of the paths of the checkpoints to use, relative to the source.

    `{step}` or `{epoch}` in it stands for the number that gives the order, and `{any}` for other text that
    may differ within one run.
    """

    dtype: Dtype | None = None
    """Type in which to store weights; None for their own type. Betas use the original weights."""

    shard_bytes: int = SHARD_BYTES
    """Largest size of a knot file in bytes (`convex`). Knots that are larger together are split."""

    trust_pickle: bool = False
    """Unpickle without restriction. This can run arbitrary code from the file."""

    append: bool = False
    """Append to an existing bundle."""

    dataset: str | None = None
    """Name of the real data set, which takes precedence over the path."""

    model: str | None = None
    """MTT's name of the network, such as `ConvNet` or `ConvNetD3W128BN`."""

    preprocessing: Preprocessing | None = None
    """How images are transformed before the network receives them."""

    def __post_init__(self) -> None:
        if self.dtype is not None and self.dtype not in DTYPES:
            raise UsageError(f"`dtype` must be one of {', '.join(DTYPES)}, got {self.dtype!r}")
        choices = {"layers": get_args(Grouping), "codec": tuple(CODECS), "buffers": get_args(BufferMode)}
        for name, known in choices.items():
            if getattr(self, name) not in (*known, *((None,) if name != "buffers" else ())):
                raise UsageError(f"`{name}` must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        self._require_types()
        if any(bound is not None and bound < 0 for bound in self.timesteps):
            raise UsageError(f"`timesteps` must be bounds >= 0, got {self.timesteps}")
        if self.place and (self.place < 3 or self.knots or self.append):
            why = "must be 3 or more" if self.place < 3 else "cannot be given with `knots`"
            why = "cannot be given with `append`, as a bundle keeps its knots" if self.append else why
            raise UsageError(f"`place` {why}, got {self.place}")
        if self.cut_for is not None and not (self.cut_for and self.timesteps[1]):
            raise UsageError(
                "`cut_for` says what the end of `timesteps` is for, so it needs a text and an end,"
                f" got {self.cut_for!r} and {self.timesteps}"
            )
        if self.dataset is not None and not 1 <= len(self.dataset) <= MAX_TEXT:
            raise UsageError(f"`dataset` must have 1 to {MAX_TEXT} characters, got {len(self.dataset)}")

    def _require_types(self) -> None:
        """Require texts, whole numbers and a preprocessing where there are some.

        Raises:
            TypeError: an option has another type.
        """
        wholes("knots", self.knots)
        whole("average", self.average)
        whole("place", self.place)
        wholes("timesteps", [bound for bound in self.timesteps if bound is not None])
        for name in ("layout", "key", "select", "dataset", "model", "cut_for"):
            if not isinstance(value := getattr(self, name), str | None):
                raise TypeError(f"`{name}` must be a text, got {value!r}")
        if not isinstance(self.preprocessing, Preprocessing | None):
            raise TypeError(f"`preprocessing` must be a Preprocessing, got {self.preprocessing!r}")

    def writing(self, cast: bool) -> Options:
        """Return the options of the encoding.

        Args:
            cast: accept weights of other float types and round them to the type that is stored.
        """
        return Options(
            knots=self.knots,
            smooth=self.smooth,
            average=self.average,
            gram=self.gram,
            codec=self.codec or DEFAULT,
            shard_bytes=self.shard_bytes,
            cast=cast,
        )
