"""Evaluation protocols: how one network is trained on a synthetic dataset, and when it is tested.

A protocol is a small module with one object, and a row of `table`. Training itself is left to `mct.training`
where possible: the protocols of MTT and of its successors are plans of passes with SGD. This folder must not
import the modules of `evaluation` above it, which train and test several networks by a protocol.

Modules:
    protocol: the protocols `Protocol` and `Plan`, and what networks learn from, `Material`.
    mtt: MTT's passes over all images.
    rat: Adam on batches drawn evenly from the classes, the best of four tests (RaT-BPTT).
    sequence: MTT's passes over several subsets, one after the other.
    selmatch: a falling learning rate, and different augmentation of real and of learned images.
    table: all protocols by name.
"""
