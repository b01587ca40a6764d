"""Real images: datasets, preprocessing, augmentation and batches.

Modules:
    datasets: `load`, which returns the training and test images of a dataset.
    readers: reading datasets from disk, one module for each file layout.
    preprocessing: channel normalisation and whitening, and their inverses.
    whitening: computing a whitening and caching it on disk.
    record: the record of a preprocessing in results, and which kinds bundles do not have.
    augment: differentiable augmentation (DSA), with random numbers drawn separately.
    picking: random images of every class.
    difficulty: files that say how difficult training images are.
    batches: the augmented batches of an inner loop, and backpropagation through the augmentation.
    moving: copying random draws from the CPU to a device in few transfers.
"""
