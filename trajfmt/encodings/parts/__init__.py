"""The files of both encodings, and the result of writing one trajectory.

This folder must not import `convex` or `full`.

Modules:
    encoding: what every encoding offers: `Encoding`, `Encoder`, `Trajectory`.
    sequence: a trajectory as a sequence of its timesteps.
    knots: headers of knot files, and the division of long ones into shards.
    shards: reading and writing knots by their position, in one file or in shards.
    tables: HDF5 files of beta tables.
    digests: safetensors files of the digests of pieces.
    buffers: safetensors files of module buffers, such as batch-norm statistics.
    discrete: a convexified trajectory as a source of whole timesteps.
    written: the result of writing one trajectory.
"""
