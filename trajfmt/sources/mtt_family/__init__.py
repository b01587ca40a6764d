"""Replay buffers of MTT and of the codebases that write the same format, one module for each codebase.

Modules:
    replay: what all of them share: numbered files of pickled trajectories.
    paths: the forms of their folder names.
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
