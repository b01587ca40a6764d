"""Reports of bundles: their facts as plain data, and as one self-contained page.

This folder must not import `sources`, `convert`, `serve` or `export`.

Modules:
    shape: the shape of one trajectory: components, steps, angles, and what convexifying leaves out.
    strides: how many timesteps of convexified paths are as long as some of the original ones.
    curves: betas and step norms over the trajectories of a bundle.
    bundle: the facts of a bundle.
    page: the page of one bundle or of several.
    sections: the sections with summary, storage, integrity and provenance.
    path: the section with the path of a trajectory.
    layers: the sections with the layers.
    comparison: the section that compares several bundles.
"""
