"""Replay buffers of MTT and of codebases that write the same files, one module for each codebase.

Modules:
    replay: numbered files of pickled trajectories, which all of them write.
    paths: the facts in the names of their folders.
    *: the files of one codebase each.
"""
