"""The inner loop: N updates on synthetic images, and their exact adjoint.

It must not import `training`, `experts`, `evaluation` or `distillation`.

Modules:
    problem: one inner loop as data: weights, images, targets, batches, random draws.
    unroll: N updates and their exact adjoint; the protocol `Unroll` for other engines.
    graphs: updates and adjoint as two captured CUDA graphs.
    keeping: how many activations are kept for the adjoint.
    steps: gradient, Hessian-vector product and pixel gradient of a single update.
"""
