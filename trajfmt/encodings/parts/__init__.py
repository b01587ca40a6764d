"""The files that encodings are made of, and what writing one trajectory gives.

It must not import `convex` or `full`.

Modules:
    knots: headers of knot files, and where long ones are cut.
    shards: knot files read and written by position.
    tables: HDF5 files of beta tables.
    buffers: safetensors files of what a network carries beside its parameters, such as batch-norm statistics.
    discrete: a convexified trajectory as a source of whole timesteps.
    result: what writing one trajectory gives.
"""
