"""Networks in training, as experts and evaluations need them.

It must not import `experts`, `evaluation` or `distillation`.

Modules:
    learners: networks that learn batch by batch.
    modules: networks that learn as modules, because they remember more than their weights.
    sharpness: sharpness-aware updates with the surrogate gap.
    compiled: what learners of one architecture compute with, compiled once and shared.
    loader: augmented batches of real or synthetic images.
    jobs: several networks at once, in threads or streams.
    testing: hits on test images.
"""
