"""The `convex` encoding: knots in safetensors, betas in HDF5.

Modules:
    reader: a stored trajectory: its knots, and weights at any real timestep.
    writer: one trajectory to knots and tables in a single pass.
    encoder: its settings as one value, and writing with them.
    encoding: its entry of the table.
"""
