"""Pictures as PNG bytes; nothing is printed.

Modules:
    along: accuracy along a trajectory.
    curves: convergence curves.
    figures: what the figures share.
    plane: principal components of a few weight vectors.
"""
