"""Trajectories of pairs of networks, and of networks on graphs.

Modules:
    towers: pairs of image and text towers, for all codebases that write them.
    vl: vision-language distillation.
    lors: LoRS.
    ptm: PTM-ST.
    graphs: networks on graphs, for both codebases that write them.
    log: the arguments in the logs of both.
    sfgc: SFGC.
    geom: GEOM.
"""
