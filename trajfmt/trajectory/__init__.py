"""The protocols of trajectories, and the arithmetic on them.

This folder works on arrays in memory. It must not import `storage` or any folder above it.

Modules:
    source: the protocols `Source` and `Convexified`, and the traversal in blocks over all timesteps.
    reuse: sources that overwrite what they returned for another timestep.
    beta: the curve u(t) from step norms (eq. 9), and its evaluation at a real t (eq. 10).
    rounding: conversion between float types with a single rounding, and its error.
    measure: step norms, Gram matrix, digest and a check for finite weights, in one pass over the weights.
    geometry: the shape of a path from inner products: components, angles, distance from the convexified path.
    strides: how many timesteps of a convexified path are as long as some of the original one.
    averaging: means of neighbouring timesteps in the place of the knots.
    placement: knots that are placed where the segments between them miss a path least.
    recorder: convexify a trajectory during training, with one copy of the previous weights.
"""

from typing import TYPE_CHECKING

from trajfmt.lazy import names_of

if TYPE_CHECKING:
    from trajfmt.trajectory.averaging import needed
    from trajfmt.trajectory.recorder import PathRecorder, Recorded
else:
    __getattr__ = names_of(
        __name__, {"PathRecorder": "recorder", "Recorded": "recorder", "needed": "averaging"}
    )

__all__ = [
    "PathRecorder",
    "Recorded",
    "needed",
]
