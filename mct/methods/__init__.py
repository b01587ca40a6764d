"""Methods of distillation that are not built in: what one consists of, where it is found, and whether it is
exact.

It must not import `distillation` or `evaluation`.

Modules:
    recipe: what a method is, and the one of the settings.
    finding: the method that a user names as `package.module:name`.
    check: the gradients of a method, compared with backpropagation through its whole inner loop.
"""
