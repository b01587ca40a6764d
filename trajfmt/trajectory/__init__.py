"""What a trajectory is, and the arithmetic on one.

Works on arrays in memory. It must not import `storage` or any folder above it.

Modules:
    source: the `Source` and `Convexified` protocols, and the traversal in blocks over all timesteps.
    beta: eqs. 8 to 10: step norms to the curve u(t), and a real t to a segment and a weight for each layer.
    rounding: conversion between float types with a single rounding, and the error that it makes.
    measure: step norms, Gram matrix, digest and finiteness in one pass over the weights.
    recorder: convexifying while a network trains, with one previous copy of the weights.
"""

from trajfmt.trajectory.recorder import PathRecorder, Recorded

__all__ = [
    "PathRecorder",
    "Recorded",
]
