"""The inner loop: N updates on synthetic images, and their exact adjoint.

It must not import `training`, `experts`, `evaluation` or `distillation`.

Modules:
    problem: one inner loop as data: weights, images, targets, batches, random draws.
    loop: the inputs of N updates, and the gradients that are written on the way back.
    horizon: the number of updates, if it is drawn.
    derivatives: the derivatives of one update, of a whole batch or in parts.
    unroll: N updates of plain SGD and their exact adjoint; the protocol `Unroll` for other engines.
    optimizers: updates that have a memory, and their adjoints.
    history: the path of a student whose optimiser has a memory: its weights after every update.
    optimized: N updates by such an optimiser, and their exact adjoint.
    engines: the inner loop that settings ask for.
    graphs: updates and adjoint as two captured CUDA graphs.
    keeping: how many activations are kept for the adjoint.
    steps: gradient, Hessian-vector product, and gradients in pixels and targets, of a single update.
"""
