"""Figures of trajectories and of distillation runs, returned as PNG bytes.

Modules:
    along: accuracy of the networks along a trajectory (figures 1(a) and 2 of the MCT paper).
    curves: accuracy over outer steps, and convergence points (figures 1(b) and 3 of the MCT paper).
    figures: creating, styling and encoding figures.
    plane: principal components of a few weight vectors.
"""
