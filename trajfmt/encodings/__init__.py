"""The encodings of trajectories, which write and read the files of a bundle.

This folder must not import `bundle` or any folder above it.

Modules:
    table: all encodings, and functions to find one.
    convex: the encoding `convex`, with knots in safetensors files and betas in HDF5 files.
    full: the encoding `full`, with every timestep in an HDF5 file.
    parts: the interface of an encoding, and the kinds of files that encodings write.
"""

from trajfmt.encodings.table import ENCODINGS, encoding_of_path

__all__ = ["ENCODINGS", "encoding_of_path"]
