"""Synthetic images, where they come from, and pictures of them.

It must not import `sets`, `evaluation` or `distillation`.

Modules:
    synthetic: the synthetic set: images, labels, learning rate, one file.
    origin: what a synthetic set was made from.
    grids: images in a grid, as PNG.
"""
