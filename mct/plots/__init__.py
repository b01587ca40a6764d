"""Figures of distillation runs, of their images, and of accuracy along trajectories.

Each figure is a `trajfmt.plots.Plot`, which `trajfmt.plots.render` encodes.

Modules:
    along: testing the networks along a trajectory.
    profile: accuracy and loss over timesteps (figure 2 of the MCT paper).
    landscape: error over the plane of two principal components (figure 1(a) of the MCT paper).
    plane: principal components of a few weight vectors.
    curves: accuracy over outer steps, and convergence points (figures 1(b) and 3 of the MCT paper).
    images: distilled images with the names of their classes (figure 5 of the MCT paper).
    classes: the accuracy of every class.
    animation: the images over the outer steps.
    labels: learned labels as a map of probabilities.
"""
