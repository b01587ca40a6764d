"""Bytes on disk or at an address.

This folder knows the manifest and the codecs but no trajectory. It must not import `trajectory` or any
folder above it.

Modules:
    filesystem: what file systems differ in: syncing, maps, owners and free space.
    locks: locks against other processes, also where the file system has none.
    opened: regular files that are read by position: opening, identity, reading and hashing.
    hashing: the hashes of a file and of its pieces, from one pass.
    digests: the digests of pieces, read from the file that holds them.
    checked: files whose bytes are compared with their hashes before they are used.
    recent: a few things that are kept because they were used last.
    threads: several pieces of work at once.
    files: reading a bundle's files: mapping, positioned reads, hashes.
    links: which links are followed in place of files: those of a hub's cache.
    writing: atomic and durable writes.
    copying: files of a bundle in another one: linked, or copied.
    inputs: a file of any origin as an input, read by position.
    holes: files that claim far more bytes than are stored.
    kinds: what a file is, by its first bytes.
    safetensors: headers of safetensors files, and any such file as an input.
    hdf5: the metadata of an HDF5 file, compared with the manifest.
    heaps: heaps of HDF5 files that libhdf5 would read without an end.
    datasets: HDF5 datasets as a manifest describes them.
    skeleton: HDF5 files whose metadata libhdf5 composes in memory, and which are written here.
    staging: the hidden folder in which a bundle is built: lock and journal.
    publishing: moving a finished bundle from there to its destination.
    hubpath: paths on the Hugging Face hub, as its addresses state them.
    names: short names that tell several paths or addresses apart.
    address: telling an address from a path, and showing an address without credentials.
    cache: the folder for files that can be fetched or computed again.
    refusals: what the Hugging Face hub refuses, as errors of this package.
    causes: the errors of fsspec's backends as errors of this package.
    proxies: the proxies that the environment names.
    hub: the Hugging Face hub: its official client, and the commit that a branch means now.
    connections: the end of fsspec's connections to web servers.
    transfer: bytes from an address, with fsspec.
    retries: transfers that go on after a broken connection.
    arrivals: whole files from an address, checked while they arrive.
    settling: files that have arrived and are being made durable.
    sparse: sparse files that hold pieces.
    parts: the parts of a bundle at an address, fetched into sparse files.
    remote: the files of a bundle at an address, fetched into the cache and read from there.
"""

from typing import TYPE_CHECKING

from trajfmt.lazy import names_of

if TYPE_CHECKING:
    from trajfmt.storage.cache import cache_folder
    from trajfmt.storage.files import sha256_file
    from trajfmt.storage.filesystem import free_bytes
    from trajfmt.storage.kinds import kind_of
    from trajfmt.storage.locks import BusyError, Lock
    from trajfmt.storage.names import short_names
    from trajfmt.storage.staging import Staging
    from trajfmt.storage.writing import occupied, partial_of, write_file
else:
    __getattr__ = names_of(
        __name__,
        {
            "cache_folder": "cache",
            "sha256_file": "files",
            "free_bytes": "filesystem",
            "kind_of": "kinds",
            "BusyError": "locks",
            "Lock": "locks",
            "short_names": "names",
            "Staging": "staging",
            "occupied": "writing",
            "partial_of": "writing",
            "write_file": "writing",
        },
    )

__all__ = [
    "BusyError",
    "Lock",
    "Staging",
    "cache_folder",
    "free_bytes",
    "kind_of",
    "occupied",
    "partial_of",
    "sha256_file",
    "short_names",
    "write_file",
]
