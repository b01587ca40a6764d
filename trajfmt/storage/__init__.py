"""Bytes on disk or at an address.

This folder knows the manifest and the codecs but no trajectory. It must not import `trajectory` or any
folder above it.

Modules:
    files: reading a bundle's files: safe opening, mapping, positioned reads, hashes.
    links: which links are followed in place of files: those of a hub's cache.
    writing: atomic and durable writes.
    mapped: a regular file of any origin, mapped when it is first read.
    safetensors: headers of safetensors files, and any such file as views of a memory map.
    hdf5: the metadata of an HDF5 file, compared with the manifest.
    datasets: HDF5 datasets as a manifest describes them.
    staging: the hidden folder in which a bundle is built: lock, journal, publication.
    address: telling an address from a path, and showing an address without credentials.
    cache: the folder for files that can be fetched or computed again.
    transfer: bytes from an address, with fsspec.
    remote: the files of a bundle at an address, fetched into the cache and read from there.
"""

from trajfmt.storage.cache import cache_folder
from trajfmt.storage.files import sha256_file
from trajfmt.storage.staging import Staging
from trajfmt.storage.writing import write_file

__all__ = [
    "Staging",
    "cache_folder",
    "sha256_file",
    "write_file",
]
