"""How a trajectory becomes bytes, and is read again.

It must not import `bundle` or any folder above it.

Modules:
    table: every encoding, and the ways to find one.
    convex: knots in safetensors and betas in HDF5.
    full: every timestep in HDF5.
    parts: the files that encodings are made of.
"""
