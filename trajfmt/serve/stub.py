"""Stubs: small JSON files that replace replay buffers and refer to a bundle with the trajectories.

With stubs, code that looks for `replay_buffer_0.pt`, `replay_buffer_1.pt`, … finds trajectories that stay in
their bundle. Reading a stub never runs code.
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
from trajfmt.schema.manifest import ConvexManifest, numbered
from trajfmt.storage.address import Address, Place, located
from trajfmt.storage.opened import OpenFile

__all__ = ["Dtype", "Kind", "Stub", "read_stub", "stub_for"]

_START: Final = b'{"trajfmt_buffer":'
_MAX_BYTES: Final = 16384

Kind = Literal["trajectories", "waypoints", "steps"]
Dtype = Literal["float16", "bfloat16", "float32", "float64"]
Index = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class Stub(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A reference to a range of the trajectories of a bundle."""

    trajfmt_buffer: Literal[1]
    kind: Kind
    """All timesteps, or one half of a pair of the MCT authors' files: the stored knots, or the betas."""

    bundle: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    """The path of the bundle relative to the folder of the stub, or its address."""

    first: Index
    count: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    digest: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    """Hash of what the stub serves, see `digest_of`. Another bundle at the same path is refused."""

    part: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT)] | None = None
    """The part whose parameters are returned, of trajectories with named parts such as `image` and `text`."""

    dtype: Dtype | None = None
    """The dtype of the tensors. If absent, that of the bundle."""

    def locate(self, stub: Path) -> Place:
        """Return the path or the address of the bundle.

        Args:
            stub: the path of this stub.
        """
        place = located(self.bundle)
        return place if isinstance(place, Address) else Path(os.path.normpath(stub.resolve().parent / place))

    def open(self, stub: Path, *, verify: bool = False) -> Bundle:
        """Open the bundle and check that it contains the trajectories of this stub.

        Args:
            stub: the path of this stub.
            verify: compare every file of the bundle with its hash.

        Raises:
            MissingError: the bundle does not exist.
            UsageError: the bundle cannot be opened, or its trajectories have changed.
            FormatError: the bundle is damaged or unsafe.
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
        """Require that a bundle contains the trajectories of this stub.

        Raises:
            UsageError: the trajectories have changed, or the stub needs a convex bundle and this is a full
                one.
        """
        if self.kind != "trajectories" and not isinstance(bundle.manifest, ConvexManifest):
            raise UsageError(
                f"{display(path)}: requests {self.kind}, but {display(bundle.place)} is a full bundle and has"
                " none; write the stubs again with traj export --in-place"
            )
        fits = self.first + self.count <= len(bundle)
        if not fits or digest_of(bundle, self.first, self.count) != self.digest:
            raise UsageError(
                f"{display(path)}: trajectories {self.first} to {self.first + self.count - 1} of"
                f" {display(bundle.place)} have changed since this stub was written; write the stubs again"
                " with traj export --in-place"
            )

    def encode(self) -> bytes:
        """Return the bytes of the stub's file."""
        return msgspec.json.encode(self) + b"\n"


def digest_of(bundle: Bundle, first: int, count: int) -> str:
    """Return a hash that identifies a range of trajectories, by everything that can be served of them.

    The digest of a trajectory says nothing of its waypoints and knots. The hash therefore includes the hashes
    of the files of weights and tables, and what the manifest says of their contents.
    """
    manifest = bundle.manifest
    hashes = {file.path: file.sha256 for file in manifest.files}
    entries = numbered(manifest)
    found: list[object] = [manifest.parameters, manifest.layers]
    if isinstance(manifest, ConvexManifest):
        found.append(manifest.smoothed)
    for number in range(first, first + count):
        if number in manifest.refused:
            found.append(manifest.refused[number])
            continue
        entry = msgspec.structs.replace(entries[number], origin=None, numbers=None, buffers=None, pieces=None)
        found.append([entry, [hashes[name] for name in sorted(entry.files)]])
    return hashlib.sha256(msgspec.json.encode(found, order="sorted")).hexdigest()


def stub_for(
    bundle: Bundle,
    folder: Path,
    kind: Kind,
    trajectories: range,
    *,
    part: str | None = None,
    dtype: Dtype | None = None,
) -> Stub:
    """Return a stub for some trajectories of a bundle.

    Args:
        bundle: the bundle.
        folder: the folder in which the stub will be.
        kind: what the stub replaces: all timesteps, knots, or betas.
        trajectories: the numbers of the trajectories.
        part: the part whose parameters are returned.
        dtype: the dtype of the tensors.

    Raises:
        UsageError: the address of the bundle contains a login or a query, which must not be in a file.
    """
    place = bundle.place
    if isinstance(place, Address):
        name = place.text
        if name != str(place):
            raise UsageError(
                f"{display(place)}: the address contains credentials, which a stub must not contain; copy"
                " the bundle to this machine first"
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
    """Return the stub in a file, or None if it is another kind of file.

    Raises:
        CorruptError: the file begins like a stub, but is damaged.
        UnsafeError: the path is no regular file.
    """
    with OpenFile(path.resolve(), path) as file:
        size = file.identity.size
        if size < len(_START) or file.read(0, len(_START)) != _START:
            return None
        text = file.read(0, min(size, _MAX_BYTES + 1))
    try:
        if len(text) > _MAX_BYTES:
            raise msgspec.ValidationError(f"more than {_MAX_BYTES} bytes")
        return msgspec.json.decode(text, type=Stub)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise CorruptError("source_invalid", f"a damaged stub of a buffer: {exc}", path=path) from exc
