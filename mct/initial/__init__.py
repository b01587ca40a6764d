"""The synthetic dataset before the first outer step: which images it begins with, and their labels.

It must not import `inner`, `objectives` or `distillation`.

Modules:
    start: images, labels and learning rate as the settings say.
    scored: images by their difficulty.
    experts: what the last weights of the experts predict for real images.
"""
