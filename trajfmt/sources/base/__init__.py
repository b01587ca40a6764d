"""The protocols and base classes that every file layout uses.

It must not import any other folder of `sources`.

Modules:
    collection: the interface between file layouts and the converter: `FileLayout`, `Collection`, `Part`.
    targets: the folders that links lead to, whose names count before those of the links.
    trajectories: what the trajectories of every file layout offer: `ForeignTrajectory`, `Plain`.
    unused: remarks on files in the folder of a source that are not used.
"""
