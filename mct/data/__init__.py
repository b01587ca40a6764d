"""Real images: datasets, preprocessing, augmentation, batches.

Modules:
    datasets: training and test images by name.
    readers: datasets on disk, one module for each file layout.
    preprocessing: normalisation and whitening, applied and undone.
    whitening: ZCA, computed once and cached.
    augment: DSA: its draws, and what they do to images.
    batches: the augmented batches of an inner loop, and the gradient back through them.
    moving: random numbers drawn on the CPU, copied to another device at once.
"""
