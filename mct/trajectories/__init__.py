"""Expert trajectories as a distillation uses them.

Modules:
    provenance: from a bundle's manifest to dataset and model.
    joined: several bundles as one.
    first: the first trajectories of a bundle.
    loading: one knot from its file to the device.
    knot_cache: which knots are kept, and which are read ahead.
    position: the weights at one time, as knots and the place of every layer between them.
    starts: the window from which start times are drawn.
    stream: start and target of a sample, without a materialised waypoint.
"""
