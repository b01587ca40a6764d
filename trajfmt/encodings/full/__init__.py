"""The encoding `full`: every timestep in an HDF5 file.

Modules:
    reader: read timesteps, memory-mapped or decoded.
    writer: write all timesteps of a trajectory into one HDF5 dataset.
    encoder: the settings of the encoding as one value.
    encoding: the entry in the table of encodings.
"""

from typing import TYPE_CHECKING

from trajfmt.lazy import names_of

if TYPE_CHECKING:
    from trajfmt.encodings.full import encoder as encoder
else:
    __getattr__ = names_of(__name__, {})  # reading a bundle loads nothing of what writes one
