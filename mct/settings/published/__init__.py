"""Published settings, one module for each method: what the method is, and its experiments.

It imports nothing of `settings`: whether the values are valid, its tests check.

Modules:
    preset: one published experiment.
    mtt: the timesteps of experts.
    mct: convexified trajectories.
    tesla: soft labels and a biased gradient that needs little memory.
    ftd: flat trajectories, and an average of the images.
    att: the nearest end of the student.
    datm: learned labels, and starts that become later.
    dc: gradients on real and synthetic images.
    dsa: the same, with the same augmentation of both.
    dm: mean embeddings by random networks.
    cafe: features, block by block.
    pad: experts that see easy images first, and a part of the parameters.
    rat: the loss on real images, through a random truncated window.
    seqmatch: subsets of the images, learned one after the other.
    selmatch: real images of a difficulty, of which a share is learned.
"""
