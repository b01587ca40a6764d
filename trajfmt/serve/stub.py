"""Stubs: small files that stand for a buffer file and name the bundle that holds its trajectories.

Owns their JSON text. They let code that looks for `replay_buffer_0.pt`, `replay_buffer_1.pt`, … find
trajectories that stay in their bundle. Reading one never runs code.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from trajfmt.bundle.reader import Bundle
from trajfmt.bundle.reader import open as open_bundle
from trajfmt.errors import CorruptError, MissingError, UsageError, display
from trajfmt.schema.layout import MAX_TEXT
from trajfmt.schema.manifest import ConvexManifest
from trajfmt.storage.address import Address, Place, located
from trajfmt.storage.files import open_regular

__all__ = ["Dtype", "Kind", "Stub", "read_stub", "stub_for"]

_START: Final = b'{"trajfmt_buffer":'
_MAX_BYTES: Final = 16384

Kind = Literal["trajectories", "waypoints", "steps"]
Dtype = Literal["float16", "bfloat16", "float32", "float64"]
Index = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class Stub(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A range of a bundle's trajectories."""

    trajfmt_buffer: Literal[1]
    kind: Kind
    """All timesteps, or one half of the MCT authors' pair: the stored knots, or the betas."""

    bundle: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    """Path from the stub's folder, or an address."""

    first: Index
    count: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    digest: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    """Hash of the trajectories' digests: another bundle under the same name is not served."""

    part: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT)] | None = None
    """Of trajectories with named parts: the one whose parameters are given."""

    dtype: Dtype | None = None
    """Of the tensors; absent: as stored."""

    def locate(self, stub: Path) -> Place:
        """Return where the bundle is."""
        place = located(self.bundle)
        return place if isinstance(place, Address) else Path(os.path.normpath(stub.resolve().parent / place))

    def open(self, stub: Path, *, verify: bool = False) -> Bundle:
        """Return the bundle, with the trajectories that the stub was made for.

        Raises:
            MissingError: it is not where it was.
            UsageError: it cannot be opened, or is another one.
        """
        place = self.locate(stub)
        named = f"{display(stub)}: names the bundle {display(place)}, which"
        try:
            bundle = open_bundle(place, verify=verify)
        except MissingError:
            raise MissingError(f"{named} is not there; move it back, or export again") from None
        except OSError as exc:
            raise UsageError(f"{named} cannot be opened: {exc.strerror or exc}") from exc
        self.check(bundle, stub)
        return bundle

    def check(self, bundle: Bundle, path: object) -> None:
        """Require that a bundle has the trajectories that the stub was made for.

        Raises:
            UsageError: it has not, or it is of another kind than what the stub asks of it.
        """
        if self.kind != "trajectories" and not isinstance(bundle.manifest, ConvexManifest):
            raise UsageError(
                f"{display(path)}: asks for {self.kind}, which {display(bundle.place)} has not: it keeps"
                " every timestep; export again"
            )
        fits = self.first + self.count <= len(bundle)
        if not fits or digest_of(bundle, self.first, self.count) != self.digest:
            raise UsageError(
                f"{display(path)}: trajectories {self.first} to {self.first + self.count - 1} of"
                f" {display(bundle.place)} are others than when this stub was written; export again"
            )

    def encode(self) -> bytes:
        """Return the file's bytes."""
        return msgspec.json.encode(self) + b"\n"


def digest_of(bundle: Bundle, first: int, count: int) -> str:
    """Return the identity of a range of trajectories."""
    entries = bundle.manifest.trajectories[first : first + count]
    return hashlib.sha256("".join(entry.digest for entry in entries).encode()).hexdigest()


def stub_for(
    bundle: Bundle,
    folder: Path,
    kind: Kind,
    trajectories: range,
    *,
    part: str | None = None,
    dtype: Dtype | None = None,
) -> Stub:
    """Return a stub, for a file in `folder`, of some of a bundle's trajectories.

    Raises:
        UsageError: the bundle's address holds a login or a query, which must not stand in a file.
    """
    place = bundle.place
    if isinstance(place, Address):
        name = place.text
        if name != str(place):
            raise UsageError(
                f"{display(place)}: the address holds credentials, which a stub must not; copy the bundle"
                " here first"
            )
    else:
        name = os.path.relpath(place.resolve(), folder.resolve())
    return Stub(
        trajfmt_buffer=1,
        kind=kind,
        bundle=name,
        first=trajectories.start,
        count=len(trajectories),
        digest=digest_of(bundle, trajectories.start, len(trajectories)),
        part=part,
        dtype=dtype,
    )


def read_stub(path: Path) -> Stub | None:
    """Return the stub in a file; None if it is another kind of file.

    Raises:
        CorruptError: it begins as a stub, but is none.
    """
    fd = open_regular(path.resolve())
    with open(fd, "rb") as file:
        if not file.read(len(_START)).startswith(_START):
            return None
        file.seek(0)
        text = file.read(_MAX_BYTES + 1)
    try:
        if len(text) > _MAX_BYTES:
            raise msgspec.ValidationError(f"more than {_MAX_BYTES} bytes")
        return msgspec.json.decode(text, type=Stub)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise CorruptError("source_invalid", f"a damaged stub of a buffer: {exc}", path=path) from exc
