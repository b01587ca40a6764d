"""Replay buffers of MTT and of codebases that write the same files, one module for each codebase.

Modules:
    replay: numbered files of pickled trajectories, which all of them write.
    paths: the facts in the names of their folders.
    mtt: MTT.
    tesla: TESLA.
    ftd: FTD.
    datm: DATM.
    pad: PAD.
    edf: EDF.
    att: ATT.
    fyi: FYI.
    glad: GLaD.
    haba: HaBa.
    ltdd: LTDD.
    mkdt: MKDT.
    nodistill: NoDistill.
    selmatch: SelMatch.
    seqmatch: SeqMatch.
    videodd: VideoDD.
"""
