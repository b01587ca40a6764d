"""Bytes on disk or at an address.

Knows the manifest and the codecs, but no trajectory. It must not import `trajectory` or any folder above it.

Modules:
    files: every system call that reads or writes a bundle's bytes.
    safetensors: any safetensors file: its header checked, its tensors as views of a memory map.
    hdf5: what HDF5's own metadata says, compared with the manifest.
    datasets: HDF5 datasets as a manifest describes them.
    staging: the hidden sibling folder in which a bundle is built: lock, journal, publication.
    address: telling an address from a path, and what is shown of an address.
    cache: the folder for what can be fetched or computed again.
    transfer: bytes from an address: the only use of fsspec.
    remote: the files of a bundle at an address: fetched whole, checked, then read like local ones.
"""

from trajfmt.storage.cache import cache_folder
from trajfmt.storage.files import sha256_file, write_file
from trajfmt.storage.staging import Staging

__all__ = [
    "Staging",
    "cache_folder",
    "sha256_file",
    "write_file",
]
