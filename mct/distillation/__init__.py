"""The outer loop: one step, its state, its files.

Modules:
    distiller: one outer step, a pure function from state to state.
    loop: outer steps with evaluations and files.
    samples: the samples of one outer step and their mean gradient.
    optimizer: SGD with momentum on images and learning rate.
    state: what continues a run.
    guards: what ends a run, and what keeps one from starting.
    folder: the files of one run.
"""
