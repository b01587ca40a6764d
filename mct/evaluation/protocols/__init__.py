"""Evaluation protocols: how one network is trained on a synthetic dataset, and when it is tested.

A protocol is a small module with one object, and a row of `table`. It trains nothing itself that
`mct.training` can train: the protocols of MTT and of its relatives are plans of passes with SGD. It must not
import the modules of `evaluation` above it, which train and test several networks by a protocol.

Modules:
    protocol: the protocols `Protocol` and `Plan`, and what networks learn from, `Material`.
    mtt: MTT's passes over all images.
    rat: Adam on batches drawn evenly from the classes, the best of four tests (RaT-BPTT).
    sequence: MTT's passes over several subsets, one after the other.
    selmatch: a falling step size, and other augmentation for real images than for learned ones.
    table: all protocols by name.
"""
