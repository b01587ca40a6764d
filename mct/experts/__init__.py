"""Training expert networks and recording their trajectories.

It must not import `evaluation` or `distillation`.

Modules:
    run: settings, destination and identity of a training run, and its loop.
    train: training experts by MTT's recipe.
    recording: where trajectories go, so that a finished one is never lost.
    distributed: experts spread over processes.
"""
