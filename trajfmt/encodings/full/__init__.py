"""The `full` encoding: every timestep in HDF5.

Modules:
    reader: a stored trajectory: its timesteps, mapped or decoded.
    writer: one trajectory to a dataset of all its timesteps.
    encoder: its settings as one value, and writing with them.
    encoding: its entry of the table.
"""
