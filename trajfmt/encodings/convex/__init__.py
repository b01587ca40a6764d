"""The encoding `convex`: knots in safetensors files, and betas in HDF5 files.

Modules:
    curves: checking the table of u.
    reader: read knots, and weights at any real timestep.
    writer: write the knots and tables of a trajectory in a single pass.
    encoder: the settings of the encoding as one value.
    encoding: the entry in the table of encodings.
"""

from typing import TYPE_CHECKING

from trajfmt.lazy import names_of

if TYPE_CHECKING:
    from trajfmt.encodings.convex import encoder as encoder
else:
    __getattr__ = names_of(__name__, {})  # reading a bundle loads nothing of what writes one
