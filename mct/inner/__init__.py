"""The inner loop: N updates on synthetic images, and their exact adjoint.

It must not import `training`, `experts`, `evaluation` or `distillation`.

Modules:
    problem: one inner loop as data: weights, images, targets, batches, random draws.
    loop: the inputs of N updates, and the gradients that are written on the way back.
    unroll: N updates and their exact adjoint; the protocol `Unroll` for other engines.
    graphs: updates and adjoint as two captured CUDA graphs.
    keeping: how many activations are kept for the adjoint.
    steps: gradient, Hessian-vector product, and gradients in pixels and targets, of a single update.
"""
