"""Training experts and recording their trajectories.

It must not import `evaluation` or `distillation`.

Modules:
    run: a run that trains experts: its settings, its destination, and how it is resumed.
    train: training experts as MTT does.
    recording: recording the trajectories of experts, and storing each one as soon as it is finished.
    distributed: training experts in several processes.
"""
