"""The `convex` encoding: knots in safetensors, betas in HDF5.

Modules:
    reader: a stored trajectory: its knots, and weights at any real timestep.
    writer: one trajectory to knots and tables in a single pass.
"""
