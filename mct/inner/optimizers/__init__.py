"""The optimisers of the inner loop: one elementwise update each, and its exact adjoint.

This folder must not import the rest of `inner`: an optimiser knows neither networks nor batches.

Modules:
    optimizer: the protocol `InnerOptimizer`.
    sgd: gradient descent.
    momentum: gradient descent with momentum.
    adam: Adam.
    table: the optimiser that settings ask for.
"""
