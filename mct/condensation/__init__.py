"""Methods that need no trajectories: they match what networks make of real and of synthetic images.

A method does one outer step: it has a fresh network, updates the synthetic images one or more times, and may
train the network on them in between. Autograd computes the gradient in the images. How the images are updated
from it, and what is saved, is up to the caller.

This folder must not import `distillation`, which runs it.

Modules:
    method: the protocol `Method`, and the `Scene` of an outer step: real images, networks and settings.
    real: real images by class.
    siamese: the same augmentation for real and synthetic images.
    students: fresh networks, their training, their features, and their accuracy.
    gradients: gradient matching (DC, DSA).
    embeddings: matching of mean embeddings (DM).
    features: alignment of features, and a discrimination loss (CAFE).
    table: every method by name.
"""
