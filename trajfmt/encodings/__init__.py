"""How a trajectory becomes bytes, and is read again.

It must not import `bundle` or any folder above it.

Modules:
    encoder: the settings of an encoding, and the way from a source to an entry of the manifest.
    convex: knots in safetensors and betas in HDF5: `reader` and `writer`.
    full: every timestep in HDF5: `reader` and `writer`.
    parts: the files that encodings are made of.
"""
