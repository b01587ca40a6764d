"""Training experts and recording their trajectories.

It must not import `distillation`.

Modules:
    run: a run that trains experts: its settings, its destination, and how it is resumed.
    job: what a run records about its experts, its identity, and where MTT looks for its files.
    train: training experts as MTT does, several at once.
    starts: experts that start from networks trained on distilled images.
    curriculum: which images the epochs of an expert pass over.
    difficulty: where a run learns how difficult the training images are.
    el2n: EL2N scores, which are computed with the experts of a bundle.
    pupil: one expert during its training.
    states: the state of an expert in training, and its files.
    recording: recording the trajectories of experts, and storing each one as soon as it is finished.
    parts: bundles of one expert each, which many processes train independently.
    distributed: training experts in several processes.
"""
