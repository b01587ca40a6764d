"""Trajectories that other code has convexified.

Modules:
    mct_authors: pairs of waypoint and step files.
    mct_betas: one trajectory of such a pair.
    mct_dense: convexified replay buffers that contain every timestep.
    chords: two knots and betas from timesteps that lie on straight lines.
"""
