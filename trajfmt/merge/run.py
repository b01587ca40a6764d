"""Merge several bundles into one.

This module defines the order of the work. `shared` says what the bundles must agree in, and `order` in which
order the trajectories come. `trajfmt.bundle.writer` writes what is new: the tables, the digests of pieces and
the manifest.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from trajfmt.bundle.reader import Bundle, open
from trajfmt.bundle.writer import BundleWriter
from trajfmt.encodings.parts.encoding import Options
from trajfmt.encodings.table import encoding_of_manifest, encoding_of_path
from trajfmt.errors import ExistsError, SourceError, TrajfmtError, UsageError, WriteError, display
from trajfmt.merge.order import Place, ordered, part_of, places, without_repeats
from trajfmt.merge.shared import Shared, shared
from trajfmt.merge.stored import Taken, take
from trajfmt.schema.manifest import FILE_NAME, Entry, FileEntry, Origin
from trajfmt.schema.parse import check_writable
from trajfmt.storage.address import Address, local, located
from trajfmt.storage.staging import Staging
from trajfmt.storage.threads import at_once, cores
from trajfmt.storage.writing import occupied
from trajfmt.version import __version__

__all__ = ["Merged", "merge"]

_TOGETHER: Final = 8
"""Bundles that are verified together before their trajectories are taken over."""


class Merged(NamedTuple):
    """What a merge has done."""

    trajectories: int
    """The trajectories of the new bundle."""

    skipped: int
    """Trajectories that were left out, because another bundle has them."""

    linked: int
    """Bytes of files that the new bundle shares with the others."""

    copied: int
    """Bytes of files that were copied."""


def merge(
    bundles: Sequence[str | os.PathLike[str] | Address],
    destination: str | os.PathLike[str],
    *,
    common: bool = False,
    skip_duplicates: bool = False,
    copy: bool = False,
    on_note: Callable[[str], None] = lambda _text: None,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Merged:
    """Merge bundles of the same network and rules into a new one.

    Every file of every bundle is compared with its hash. Files of weights and of module buffers are then
    linked, or copied where that is impossible, and never encoded again. The same bundles give the same bytes
    in whatever order they are given; see `trajfmt.merge.order`. The bundle appears at its destination when it
    is complete. After an interruption, the same call continues.

    Args:
        bundles: paths or addresses of the bundles.
        destination: path of the new bundle, at which nothing may exist.
        common: record only the facts about the experts that all bundles state in the same way. Without it,
            bundles that differ in them are refused.
        skip_duplicates: leave out a trajectory with the same digest as an earlier one.
        copy: copy files instead of linking them, so that the bundles share no bytes.
        on_note: receives remarks for the user.
        on_progress: receives the bytes of the trajectories that are done, and of all.

    Raises:
        UsageError: the bundles differ in their network, rules or facts.
        SourceError: two trajectories are the same, or a bundle changes meanwhile.
        FormatError: a bundle is damaged, or has a feature that this library does not know.
        ExistsError: something exists at the destination.
        WriteError: the destination cannot be written.

    Example:
        >>> from trajfmt.merge import merge
        >>> merge(["two.mct"], "merged.mct").trajectories
        1
    """
    if not bundles:
        raise UsageError("there is nothing to merge; name at least one bundle")
    target = local(destination)
    if occupied(target):
        Staging.sweep(target)
        raise ExistsError(f"{display(target)} already exists; choose another name for the new bundle")
    encoding_of_path(target)
    with ExitStack() as stack:
        opened = ordered([stack.enter_context(open(path, backend="pread")) for path in bundles])
        for bundle in opened:
            check_writable(bundle.manifest, path=bundle.place / FILE_NAME)
        job = _job(bundles, opened, common=common, skip=skip_duplicates)
        return _Run(opened, target, job, common, skip_duplicates, on_note, on_progress).all(copy=copy)


class _Run:
    """One merge."""

    def __init__(
        self,
        bundles: Sequence[Bundle],
        target: Path,
        job: bytes,
        common: bool,
        skip: bool,
        on_note: Callable[[str], None],
        on_progress: Callable[[int, int], None],
    ) -> None:
        self._target = target
        self._job = job
        everything: Shared = shared(bundles, common=common)
        self._part = part_of(bundles)
        kept, repeats = without_repeats(bundles, places(bundles), skip=skip)
        if not kept:
            raise SourceError("nothing_to_convert", "the bundles hold no trajectories")
        used = sorted({place.bundle for place in kept})
        position = {number: index for index, number in enumerate(used)}
        self._bundles = [bundles[number] for number in used]
        self._places = [Place(position[place.bundle], place.number) for place in kept]
        self._shared = everything if len(used) == len(bundles) else shared(self._bundles, common=common)
        self._skipped = sum(len(bundle) for bundle in bundles) - len(kept)
        self._on_note, self._on_progress = on_note, on_progress
        self._require_name()
        for text in [*self._shared.remarks, *repeats, *self._absent()]:
            on_note(text)

    def _require_name(self) -> None:
        encoding = encoding_of_manifest(self._bundles[0].manifest)
        if self._target.suffix != encoding.suffix:
            raise UsageError(
                f"{display(self._target)}: the bundles have {encoding.kind} trajectories, so that the name of"
                f" the new one must end in {encoding.suffix}"
            )

    def _absent(self) -> list[str]:
        """Return a remark if parts of a whole are missing."""
        missing = [] if self._part is None else self._part.missing
        if self._part is None or not missing:
            return []
        listed = ", ".join(map(str, missing[:8])) + (", …" if len(missing) > 8 else "")
        return [
            f"{len(missing)} of the {self._part.of} trajectories of the whole are missing ({listed}); the new"
            " bundle is a part of it, too"
        ]

    def all(self, *, copy: bool) -> Merged:
        """Write and publish the bundle."""
        first = self._bundles[0]
        encoding = encoding_of_manifest(first.manifest)
        encoder = encoding.continued(first.manifest, Options())
        taken = Taken()
        with _writing(self._target):
            staging = Staging(self._target, self._job, durable=False)
            writer = BundleWriter(staging, first.layout, encoding, encoder, self._shared.provenance, None)
            try:
                writer.extensions = self._shared.extensions | (self._part.extensions if self._part else {})
                writer.unread = self._shared.unread
                writer.check()
                if staging.stale:
                    self._on_note("a bundle has changed since an interrupted run, which is begun again")
                writer.recover()
                if len(writer):
                    self._on_note(
                        f"continuing from {len(writer)} finished trajectories of an interrupted run"
                    )
                self._take_all(writer, taken, copy=copy)
                writer.publish()
            except BaseException:
                if staging.empty:
                    writer.discard()
                else:
                    writer.release()
                raise
        return Merged(len(self._places), self._skipped, taken.linked, taken.copied)

    def _take_all(self, writer: BundleWriter, taken: Taken, *, copy: bool) -> None:
        sizes = [self._size(place) for place in self._places]
        done, total = sum(sizes[: len(writer)]), sum(sizes)
        rest = list(zip(self._places, sizes, strict=True))[len(writer) :]
        listed: dict[int, dict[str, FileEntry]] = {}
        for position, (place, size) in enumerate(rest):
            if place.bundle not in listed:
                listed |= self._verified([later.bundle for later, _ in rest[position:]], listed)
            bundle, files = self._bundles[place.bundle], listed[place.bundle]
            written = take(bundle, place.number, files, writer.staging.pending, taken, copy=copy)
            writer.commit(written, origin=self._origin(place))
            bundle.close()
            done += size
            self._on_progress(done, total)
        for number in listed:
            self._bundles[number].files.check_unchanged()

    def _verified(self, coming: Sequence[int], done: Container[int]) -> dict[int, dict[str, FileEntry]]:
        """Compare the files of the next few bundles with their hashes at once, and return the files by name.

        Args:
            coming: numbers of the bundles that are needed, in order.
            done: numbers of those that have been verified.
        """
        following = [number for number in dict.fromkeys(coming) if number not in done][:_TOGETHER]
        at_once([self._bundles[number].verify for number in following], cores())
        return {n: {file.path: file for file in self._bundles[n].manifest.files} for n in following}

    def _size(self, place: Place) -> int:
        bundle = self._bundles[place.bundle]
        return sum(bundle.files.sizes[name] for name in self._entry(place).weight_files)

    def _origin(self, place: Place) -> Origin | None:
        origin = self._entry(place).origin
        if origin is None:
            return None
        return Origin(self._shared.source_numbers[place.bundle][origin.file], origin.trajectory)

    def _entry(self, place: Place) -> Entry:
        return self._bundles[place.bundle].manifest.trajectories[place.number]


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Turn an error of the operating system into a `WriteError` that names the destination."""
    try:
        yield
    except OSError as exc:
        if isinstance(exc, TrajfmtError):
            raise
        reason = f"{exc.strerror or exc}; free space or choose another place"
        raise WriteError(f"{display(target)}: cannot be written: {reason}") from exc


def _job(
    paths: Sequence[str | os.PathLike[str] | Address], bundles: Sequence[Bundle], *, common: bool, skip: bool
) -> bytes:
    """Return what identifies a merge, for `trajfmt.storage.Staging`. Links or copies make no difference."""
    names = sorted(
        str(place if isinstance(place := located(path), Address) else place.resolve()) for path in paths
    )
    command = hashlib.sha256(msgspec.json.encode(["merge", __version__, names, common, skip])).hexdigest()
    state = hashlib.sha256(msgspec.json.encode([bundle.sha256 for bundle in bundles])).hexdigest()
    return f"{command}.{state} trajfmt {__version__} merging {len(names)} bundles".encode()
