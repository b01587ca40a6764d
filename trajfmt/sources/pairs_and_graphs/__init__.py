"""Trajectories of networks that are no single image classifier.

Modules:
    towers: pairs of image and text towers: what their layouts share.
    vl: vision-language distillation.
    lors: LoRS.
    graphs: graph distillation: what its layouts share.
    sfgc: SFGC.
    geom: GEOM.
"""
