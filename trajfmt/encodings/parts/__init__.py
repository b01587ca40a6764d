"""The files that encodings are made of, and what writing one trajectory gives.

It must not import `convex` or `full`.

Modules:
    encoding: what every encoding offers: `Encoding`, `Encoder`, `Trajectory`.
    knots: headers of knot files, and where long ones are cut.
    shards: knot files read and written by position.
    tables: HDF5 files of beta tables.
    buffers: safetensors files of what a network carries beside its parameters, such as batch-norm statistics.
    discrete: a convexified trajectory as a source of whole timesteps.
    written: what writing one trajectory gives.
"""
