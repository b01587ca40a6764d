"""Synthetic datasets, the record of their origin, and pictures of their images.

It must not import `sets`, `evaluation` or `distillation`.

Modules:
    synthetic: synthetic datasets (images, labels and learning rate), and their files.
    examples: their images as a torch `Dataset`.
    preview: what they show of themselves in texts and notebooks.
    consistency: what the tensors and the origin of a stored dataset must fulfil together.
    stages: distillations in stages, each of which adds images to those of the stages before.
    files: the file with the result of a run, and its images without preprocessing.
    metrics: what a run measured: every outer step, and the test of its best images.
    origin: the record of how a synthetic dataset was made.
    snapshots: pictures of the images over the outer steps.
    grids: arranging images in a grid, and encoding it as PNG.
"""

from mct.results.synthetic import SyntheticDataset, load

__all__ = ["SyntheticDataset", "load"]
